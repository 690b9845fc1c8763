//! Locks a volume for creating or replacing it: one process or branch at a time on the whole engine.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Volumes;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::volume_claim::{ClaimOutcome, ClaimRequest};

const PREFIX: &str = "deployer-guard-copy-";
/// How long to wait for another branch or process. After that, the error names the holder.
const WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// The volumes that this process has locked. The engine cannot distinguish branches of one process.
#[derive(Debug, Default)]
pub(in crate::world::docker) struct LockedVolumes(Mutex<HashSet<String>>);

impl LockedVolumes {
    fn insert(&self, volume: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.to_owned())
    }

    pub(super) fn remove(&self, volume: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(volume);
    }
}

/// The lock on a volume. Released by [`VolumeLock::release`]; the claim of a process that died can be taken over.
pub(super) struct VolumeLock {
    volumes: Volumes,
    volume: String,
    /// Whether the engine's volumes are folders on this machine that this process can read.
    pub sees_files: bool,
}

impl Volumes {
    /// Waits for the lock of a volume.
    pub(super) async fn lock(&self, call: &Call, volume: &str) -> Result<VolumeLock, EffectError> {
        let end_ms = self.client.clock.steady_ms() + WAIT.as_millis() as u64;
        let has_timed_out = || self.client.clock.steady_ms() >= end_ms;
        let pause = || async {
            self.client.clock.sleep(POLL).await;
            Ok(())
        };
        let what = format!("the wait for volume `{volume}`");
        while !self.locked.insert(volume) {
            if has_timed_out() {
                let message = format!("volume `{volume}` is being created or replaced by another part of this run");
                return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
            }
            unless_cancelled(call, &what, pause()).await.map_err(EffectError::not_applied)?;
        }
        let mut lock = VolumeLock { volumes: self.clone(), volume: volume.to_owned(), sees_files: false };
        let claim_volume = lock.claim_volume();
        let claim = ClaimRequest { name: volume.to_owned(), volume: claim_volume.clone(), epoch: 0 };
        while let ClaimOutcome::Held(owner) = self.claims.claim(call, &claim, 0).await? {
            if has_timed_out() {
                return Err(self.claims.held_error(&claim, owner.as_ref()));
            }
            unless_cancelled(call, &what, pause()).await.map_err(EffectError::not_applied)?;
        }
        // A local port may lead to an engine on another machine, so check that the volume just created is visible here.
        if self.client.is_on_this_host()
            && let Some(created) = self.api.find(&claim_volume).await?
        {
            lock.sees_files = std::fs::read_dir(Path::new(&created.mountpoint)).is_ok();
        }
        Ok(lock)
    }
}

impl VolumeLock {
    fn claim_volume(&self) -> String {
        format!("{PREFIX}{}", self.volume)
    }

    pub(super) async fn release(self) -> Result<(), EffectError> {
        self.volumes.api.remove(&self.claim_volume()).await.map(drop)
    }
}

impl Drop for VolumeLock {
    fn drop(&mut self) {
        self.volumes.locked.remove(&self.volume);
    }
}
