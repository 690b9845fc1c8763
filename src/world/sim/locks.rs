//! Locks of services: who holds them, and whether the holder lives. Knows nothing of runs but their ids.
//!
//! Faults: a lock that another run holds, for ever or for a while; one whose holder was killed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::run_id::RunId;
use crate::effect::lock::{AcquireLock, HeldLock, LockEffect, LockOutcome, Locked};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub run: RunId,
    /// Whether the holder was killed.
    #[serde(default)]
    pub dead: bool,
    /// The instant of the clock at which the holder lets go.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

/// Locks by service.
pub(super) type Locks = BTreeMap<String, Held>;

fn held((service, held): (&String, &Held)) -> HeldLock {
    HeldLock {
        service: service.clone(),
        run: held.run.clone(),
        host: "sim".into(),
        pid: 0,
        since: None,
        dead: held.dead,
    }
}

impl SimHost {
    pub(super) fn lock(&mut self, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        Ok(match effect {
            LockEffect::Acquire(request) => LockOutcome::Acquire(self.acquire(call, request)?),
            LockEffect::Release(request) => {
                if self.locks.get(&request.service).is_some_and(|held| held.run == call.run) {
                    self.locks.remove(&request.service);
                }
                LockOutcome::Release(())
            }
            LockEffect::List(_) => LockOutcome::List(self.locks.iter().map(held).collect()),
        })
    }

    fn acquire(&mut self, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let deadline = self.now() + whole_ms(request.wait.0);
        let mut taken_over_from = None;
        if let Some(held) = self.locks.get(&request.service).filter(|held| held.run != call.run) {
            let free_at = held.until_ms.map(|until| until.max(self.now()));
            match free_at.filter(|at| *at <= deadline) {
                _ if held.dead => taken_over_from = Some(held.run.clone()),
                Some(at) => self.clock.advance_to(at),
                None => {
                    let message = format!("run {} holds the lock of `{}`", held.run, request.service);
                    let error = EffectError::new(ErrorKind::Locked, message)
                        .hint(format!("deployer show {}", held.run))
                        .not_applied();
                    self.clock.advance_to(deadline);
                    return Err(error);
                }
            }
        }
        self.locks.insert(request.service.clone(), Held { run: call.run.clone(), dead: false, until_ms: None });
        Ok(Locked { taken_over_from })
    }
}
