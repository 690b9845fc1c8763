//! Local locks: one file per service, and one that keeps the number of its latest lock. Whoever changes them has the
//! guard of the state folder.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folder::{check_name, instant_text, io_error, read_json, write_json};
use super::{LocalEngine, Waiting, blocking};
use crate::base::run_id::RunId;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::lock::{
    AcquireLock, BreakLock, HeldLock, LockEffect, LockHolder, LockOutcome, LockView, Locked, LookLock, ReleaseLock,
};
use crate::world::Call;
use crate::world::clock::{Clock, SystemClock};
use crate::world::holder::Holder;

const POLL: Duration = Duration::from_millis(50);

/// `locks/SERVICE.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LockRecord {
    run: RunId,
    holder: Holder,
    since: String,
    #[serde(default)]
    epoch: u64,
}

enum Attempt {
    Held(Locked),
    Busy(LockHolder),
}

impl LocalEngine {
    pub(super) async fn lock(self: &Arc<Self>, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        let run = call.run.clone();
        match effect.clone() {
            LockEffect::Acquire(request) => self.acquire_lock(call, &request).await.map(LockOutcome::Acquire),
            LockEffect::Release(request) => {
                blocking(self, move |engine| engine.release_lock(&run, &request)).await.map(LockOutcome::Release)
            }
            LockEffect::List(_) => blocking(self, Self::list_locks).await.map(LockOutcome::List),
            LockEffect::Look(request) => {
                blocking(self, move |engine| engine.look_lock(&request)).await.map(LockOutcome::Look)
            }
            LockEffect::Break(request) => {
                blocking(self, move |engine| engine.break_lock(&request)).await.map(LockOutcome::Break)
            }
        }
    }

    async fn acquire_lock(self: &Arc<Self>, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let waiting = Waiting::until(call, request.wait.0);
        let mut told = String::new();
        loop {
            let (service, run) = (request.service.clone(), call.run.clone());
            let holder = match blocking(self, move |engine| engine.try_lock(&service, run)).await? {
                Attempt::Held(locked) => return Ok(locked),
                Attempt::Busy(holder) => holder,
            };
            if waiting.is_over() {
                return Err(holder.locked(&request.service, now_ms()));
            }
            let words = format!("waiting for the lock of `{}`: {}", request.service, holder.words(now_ms()));
            if words != told {
                call.tell(words.clone());
                told = words;
            }
            waiting.pause(POLL).await.map_err(EffectError::not_applied)?;
        }
    }

    fn try_lock(&self, service: &str, run: RunId) -> Result<Attempt, EffectError> {
        let file = self.lock_file(service)?;
        let _guard = self.folder.guard()?;
        let there = read_json::<LockRecord>(&file)?;
        let mut taken_over_from = None;
        let epoch = match there {
            Some(there) if there.run == run && there.holder == self.holder => {
                return Ok(Attempt::Held(Locked { taken_over_from, epoch: there.epoch }));
            }
            Some(there) if !there.holder.is_provably_dead(&self.holder) => {
                return Ok(Attempt::Busy(self.holder_of(&there)));
            }
            // A resumed run is another process than the one that took the lock.
            Some(there) if there.run == run => there.epoch,
            there => {
                let epoch = self.newest_epoch(service, there.as_ref())?.saturating_add(1);
                taken_over_from = there.map(|there| there.run);
                epoch
            }
        };
        // First, so that no number is given twice, whatever happens now.
        write_json(&self.epoch_file(service), &epoch)?;
        write_json(&file, &LockRecord { run, holder: self.holder.clone(), since: instant_text(), epoch })?;
        Ok(Attempt::Held(Locked { taken_over_from, epoch }))
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

    fn remove_lock(&self, service: &str, is_it: impl Fn(&LockRecord) -> bool) -> Result<bool, EffectError> {
        let file = self.lock_file(service)?;
        let _guard = self.folder.guard()?;
        match read_json::<LockRecord>(&file)? {
            Some(lock) if is_it(&lock) => {
                fs::remove_file(&file).map_err(|why| io_error("remove", &file, &why))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn look_lock(&self, request: &LookLock) -> Result<LockView, EffectError> {
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
