//! Local locks: one file per service, made only if there is none.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::folder::{check_name, instant_text, io_error, read_json, write_json, write_new_json};
use super::{LocalEngine, Waiting, blocking};
use crate::base::run_id::RunId;
use crate::effect::lock::{AcquireLock, HeldLock, Locked, ReleaseLock};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::holder::Holder;

const POLL: Duration = Duration::from_millis(50);

/// `locks/SERVICE.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LockRecord {
    run: RunId,
    holder: Holder,
    since: String,
}

enum Attempt {
    Held(Locked),
    Busy(LockRecord),
}

impl LocalEngine {
    fn lock_file(&self, service: &str) -> PathBuf {
        self.folder.locks().join(format!("{service}.json"))
    }

    pub(super) async fn acquire_lock(
        self: &Arc<Self>,
        call: &Call,
        request: &AcquireLock,
    ) -> Result<Locked, EffectError> {
        check_name("service", &request.service)?;
        let waiting = Waiting::until(call, request.wait.0);
        loop {
            let (service, run) = (request.service.clone(), call.run.clone());
            let busy = match blocking(self, move |engine| engine.try_lock(&service, run)).await? {
                Attempt::Held(locked) => return Ok(locked),
                Attempt::Busy(busy) => busy,
            };
            if waiting.is_over() {
                let LockRecord { run, holder, since } = busy;
                return Err(EffectError::new(
                    ErrorKind::Locked,
                    format!(
                        "service `{}` is locked by run `{run}` since {since} (process {} on `{}`)",
                        request.service, holder.pid, holder.host
                    ),
                )
                .hint(format!("see what it does: deployer show {run}"))
                .not_applied());
            }
            call.tell(format!("waiting for run {} to let go of `{}`", busy.run, request.service));
            waiting.pause(POLL).await.map_err(EffectError::not_applied)?;
        }
    }

    fn try_lock(&self, service: &str, run: RunId) -> Result<Attempt, EffectError> {
        let file = self.lock_file(service);
        let _guard = self.folder.guard()?;
        let own = LockRecord { run, holder: self.holder.clone(), since: instant_text() };
        if write_new_json(&file, &own)? {
            return Ok(Attempt::Held(Locked { taken_over_from: None }));
        }
        let Some(there) = read_json::<LockRecord>(&file)? else {
            return Err(
                EffectError::new(ErrorKind::Unavailable, format!("`{}` vanished", file.display())).not_applied()
            );
        };
        if there.run == own.run {
            // A resumed run is another process than the one that took the lock.
            write_json(&file, &LockRecord { since: there.since, ..own })?;
            return Ok(Attempt::Held(Locked { taken_over_from: None }));
        }
        if there.holder.is_provably_dead(&self.holder) {
            write_json(&file, &own)?;
            return Ok(Attempt::Held(Locked { taken_over_from: Some(there.run) }));
        }
        Ok(Attempt::Busy(there))
    }

    pub(super) fn list_locks(&self) -> Result<Vec<HeldLock>, EffectError> {
        let mut locks = Vec::new();
        for service in self.folder.names(&self.folder.locks())? {
            let Some(LockRecord { run, holder, since }) = read_json(&self.lock_file(&service))? else { continue };
            let dead = holder.is_provably_dead(&self.holder);
            locks.push(HeldLock { service, run, host: holder.host, pid: holder.pid, since: Some(since), dead });
        }
        Ok(locks)
    }

    pub(super) fn release_lock(&self, call: &Call, request: &ReleaseLock) -> Result<(), EffectError> {
        check_name("service", &request.service)?;
        let file = self.lock_file(&request.service);
        let _guard = self.folder.guard()?;
        match read_json::<LockRecord>(&file)? {
            Some(lock) if lock.run == call.run => fs::remove_file(&file).map_err(|why| io_error("remove", &file, &why)),
            _ => Ok(()),
        }
    }
}
