//! Local locks: one file per service, and one with the epoch of its latest lock. Changes require the guard of the state
//! folder.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounded_wait::BoundedWait;
use super::local_engine::{LocalEngine, run_blocking};
use super::state_folder::{check_name, instant_text, io_error, read_json, write_json};
use crate::base::run_id::RunId;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::lock::{
    AcquireLock, BreakLock, HeldLock, InspectLock, LockEffect, LockHolder, LockOutcome, LockView, Locked, ReleaseLock,
    next_epoch,
};
use crate::world::Call;
use crate::world::clock::{Clock, SystemClock};
use crate::world::process_identity::ProcessIdentity;

const POLL: Duration = Duration::from_millis(50);

/// `locks/SERVICE.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LockRecord {
    run: RunId,
    holder: ProcessIdentity,
    since: String,
    #[serde(default)]
    epoch: u64,
}

enum LockAttempt {
    Held(Locked),
    Busy(LockHolder),
}

impl LocalEngine {
    pub(super) async fn lock(self: &Arc<Self>, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        let run = call.run.clone();
        match effect.clone() {
            LockEffect::Acquire(request) => self.acquire_lock(call, &request).await.map(LockOutcome::Acquire),
            LockEffect::Release(request) => {
                run_blocking(self, move |engine| engine.release_lock(&run, &request)).await.map(LockOutcome::Release)
            }
            LockEffect::List(_) => run_blocking(self, Self::list_locks).await.map(LockOutcome::List),
            LockEffect::Inspect(request) => {
                run_blocking(self, move |engine| engine.inspect_lock(&request)).await.map(LockOutcome::Inspect)
            }
            LockEffect::Break(request) => {
                run_blocking(self, move |engine| engine.break_lock(&request)).await.map(LockOutcome::Break)
            }
        }
    }

    async fn acquire_lock(self: &Arc<Self>, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let waiting = BoundedWait::until(call, request.wait.0);
        let mut last_message = String::new();
        loop {
            let (service, run) = (request.service.clone(), call.run.clone());
            let holder = match run_blocking(self, move |engine| engine.try_lock(&service, run)).await? {
                LockAttempt::Held(locked) => return Ok(locked),
                LockAttempt::Busy(holder) => holder,
            };
            if waiting.is_over() {
                return Err(holder.locked(&request.service, now_ms()));
            }
            let message = format!("waiting for the lock of `{}`: {}", request.service, holder.describe(now_ms()));
            if message != last_message {
                call.report_progress(message.clone());
                last_message = message;
            }
            waiting.pause(POLL).await.map_err(EffectError::not_applied)?;
        }
    }

    fn try_lock(&self, service: &str, run: RunId) -> Result<LockAttempt, EffectError> {
        let file = self.lock_file(service)?;
        let _guard = self.folder.guard()?;
        let existing = read_json::<LockRecord>(&file)?;
        let mut taken_over_from = None;
        let epoch = match existing {
            Some(existing) if existing.run == run && existing.holder == self.holder => {
                return Ok(LockAttempt::Held(Locked { taken_over_from, epoch: existing.epoch }));
            }
            Some(existing) if !existing.holder.is_provably_dead(&self.holder) => {
                return Ok(LockAttempt::Busy(self.holder_of(&existing)));
            }
            // A resumed run is another process than the one that acquired the lock.
            Some(existing) if existing.run == run => existing.epoch,
            existing => {
                let epoch =
                    next_epoch(self.newest_epoch(service, existing.as_ref())?, SystemClock::default().unix_ms());
                taken_over_from = existing.map(|existing| existing.run);
                epoch
            }
        };
        // Written first, so that no epoch is used twice, whatever happens next.
        write_json(&self.epoch_file(service), &epoch)?;
        write_json(&file, &LockRecord { run, holder: self.holder.clone(), since: instant_text(), epoch })?;
        Ok(LockAttempt::Held(Locked { taken_over_from, epoch }))
    }

    fn release_lock(&self, run: &RunId, request: &ReleaseLock) -> Result<(), EffectError> {
        self.remove_lock(&request.service, |lock| {
            lock.run == *run && (lock.holder == self.holder || lock.holder.is_provably_dead(&self.holder))
        })
        .map(drop)
    }

    fn break_lock(&self, request: &BreakLock) -> Result<Removed, EffectError> {
        let removed = self.remove_lock(&request.service, |lock| lock.run == request.run)?;
        Ok(Removed { removed })
    }

    fn remove_lock(&self, service: &str, matches_lock: impl Fn(&LockRecord) -> bool) -> Result<bool, EffectError> {
        let file = self.lock_file(service)?;
        let _guard = self.folder.guard()?;
        match read_json::<LockRecord>(&file)? {
            Some(lock) if matches_lock(&lock) => {
                fs::remove_file(&file).map_err(|why| io_error("remove", &file, &why))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn inspect_lock(&self, request: &InspectLock) -> Result<LockView, EffectError> {
        let record = read_json::<LockRecord>(&self.lock_file(&request.service)?)?;
        let newest_epoch = self.newest_epoch(&request.service, record.as_ref())?;
        Ok(LockView { holder: record.map(|record| self.holder_of(&record)), newest_epoch })
    }

    fn list_locks(&self) -> Result<Vec<HeldLock>, EffectError> {
        let mut locks = Vec::new();
        for service in self.folder.names(&self.folder.locks())? {
            let Some(record) = read_json(&self.lock_file(&service)?)? else { continue };
            locks.push(HeldLock { service, holder: self.holder_of(&record) });
        }
        Ok(locks)
    }

    fn newest_epoch(&self, service: &str, lock: Option<&LockRecord>) -> Result<u64, EffectError> {
        let kept = read_json::<u64>(&self.epoch_file(service))?.unwrap_or_default();
        Ok(kept.max(lock.map_or(0, |lock| lock.epoch)))
    }

    fn holder_of(&self, record: &LockRecord) -> LockHolder {
        let LockRecord { run, holder, since, epoch } = record.clone();
        LockHolder {
            run,
            state: holder.state(&self.holder),
            is_this_process: holder == self.holder,
            host: holder.host,
            pid: holder.pid,
            since_ms: since.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).unwrap_or_default(),
            epoch,
        }
    }

    fn lock_file(&self, service: &str) -> Result<PathBuf, EffectError> {
        check_name("service", service)?;
        Ok(self.folder.locks().join(format!("{service}.json")))
    }

    fn epoch_file(&self, service: &str) -> PathBuf {
        self.folder.epochs().join(format!("{service}.json"))
    }
}

fn now_ms() -> i64 {
    SystemClock::default().unix_ms()
}
