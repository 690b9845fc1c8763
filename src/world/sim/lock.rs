//! Effects on service locks. Knows nothing of runs but their ids.
//!
//! Faults: a lock that another run holds, permanently or for a while; one whose holder was killed.

use std::collections::BTreeMap;

use super::model::lock::SimLock;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::lock::{AcquireLock, HeldLock, HolderState, LockEffect, LockHolder, LockOutcome, LockView, Locked};
use crate::world::Call;
use crate::world::clock::Clock;

/// The host name of simulated lock holders.
const HOST: &str = "sim";

impl SimHost {
    pub(super) fn lock(&mut self, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        Ok(match effect {
            LockEffect::Acquire(request) => LockOutcome::Acquire(self.acquire(call, request)?),
            LockEffect::Release(request) => {
                self.release_lock(&request.service, &call.run);
                LockOutcome::Release(())
            }
            LockEffect::Inspect(request) => {
                let holder = self.locks.get(&request.service).cloned();
                let holder = holder.map(|held| self.lock_holder(&request.service, &held, &call.run));
                LockOutcome::Inspect(LockView { holder, newest_epoch: self.newest_epoch(&request.service) })
            }
            LockEffect::Break(request) => {
                LockOutcome::Break(Removed { removed: self.release_lock(&request.service, &request.run) })
            }
            LockEffect::List(_) => {
                let held = |(service, held): (&String, &SimLock)| {
                    let holder = self.lock_holder(service, held, &call.run);
                    HeldLock { service: service.clone(), holder }
                };
                LockOutcome::List(self.locks.iter().map(held).collect())
            }
        })
    }

    fn release_lock(&mut self, service: &str, run: &RunId) -> bool {
        let holds = self.locks.get(service).is_some_and(|held| held.run == *run);
        if holds {
            self.locks.remove(service);
        }
        holds
    }

    fn acquire(&mut self, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let service = &request.service;
        let deadline = self.now() + whole_ms(request.wait.0);
        let mut taken_over_from = None;
        let mut own_epoch = None;
        match self.locks.get(service).cloned() {
            None => {}
            // A simulated process is identified by its run: a resumed run is another process of the same run.
            Some(held) if held.run == call.run => own_epoch = self.epochs.get(service).copied(),
            Some(held) if held.dead => taken_over_from = Some(held.run),
            Some(held) => match held.until_ms.map(|until| until.max(self.now())).filter(|at| *at <= deadline) {
                Some(at) => {
                    let words = self.lock_holder(service, &held, &call.run).describe(self.clock.unix_ms());
                    call.report_progress(format!("waiting for the lock of `{service}`: {words}"));
                    self.clock.advance_to(at);
                }
                None => {
                    self.clock.advance_to(deadline);
                    return Err(self.lock_holder(service, &held, &call.run).locked(service, self.clock.unix_ms()));
                }
            },
        }
        let epoch = own_epoch.unwrap_or_else(|| self.newest_epoch(service).saturating_add(1));
        self.epochs.insert(service.clone(), epoch);
        self.locks.insert(service.clone(), SimLock { run: call.run.clone(), dead: false, until_ms: None });
        Ok(Locked { taken_over_from, epoch })
    }

    /// Returns the newest epoch, that of the scenario's containers included.
    fn newest_epoch(&self, service: &str) -> u64 {
        let of_service = |labels: &BTreeMap<String, String>| {
            let own = labels.get(labels::SERVICE).is_some_and(|other| other == service);
            own.then(|| labels.get(labels::EPOCH)?.parse().ok()).flatten()
        };
        let carried = self.containers.all().filter_map(|container| of_service(&container.labels));
        carried.chain(self.epochs.get(service).copied()).max().unwrap_or_default()
    }

    fn lock_holder(&self, service: &str, held: &SimLock, asks: &RunId) -> LockHolder {
        LockHolder {
            run: held.run.clone(),
            host: HOST.into(),
            pid: 0,
            since_ms: self.clock.unix_ms(),
            epoch: self.epochs.get(service).copied().unwrap_or_default(),
            state: if held.dead { HolderState::Dead } else { HolderState::Alive },
            is_this_process: held.run == *asks,
        }
    }
}
