//! The right to make or replace a volume: one at a time on the whole engine, in this process or in any other.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::claim::{Claim, Wanted};
use crate::world::docker::{DockerEngine, unless_cancelled};

const PREFIX: &str = "deployer-guard-copy-";
/// How long another branch or process may take to let go; whoever copies for longer is told of.
const WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Volumes that this very process works at: to the engine its branches are one holder.
#[derive(Debug, Default)]
pub(in crate::world::docker) struct VolumesHeld(Mutex<HashSet<String>>);

impl VolumesHeld {
    fn begin(&self, volume: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.to_owned())
    }

    fn end(&self, volume: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(volume);
    }
}

/// Held until it is released; a process that dies lets go of it too.
pub(super) struct Hold {
    engine: Arc<DockerEngine>,
    volume: String,
    /// Whether the engine's volumes are folders of this machine that this process may use.
    pub sees_files: bool,
}

impl DockerEngine {
    pub(super) async fn hold_volume(self: &Arc<Self>, call: &Call, volume: &str) -> Result<Hold, EffectError> {
        let end_ms = self.clock.steady_ms() + WAIT.as_millis() as u64;
        let is_over = || self.clock.steady_ms() >= end_ms;
        let pause = || async {
            self.clock.sleep(POLL).await;
            Ok(())
        };
        let what = format!("the wait for volume `{volume}`");
        while !self.volumes_held.begin(volume) {
            if is_over() {
                let message = format!("volume `{volume}` is being made or replaced by another part of this run");
                return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
            }
            unless_cancelled(call, &what, pause()).await.map_err(EffectError::not_applied)?;
        }
        let mut hold = Hold { engine: self.clone(), volume: volume.to_owned(), sees_files: false };
        let guard = hold.guard();
        let wanted = Wanted { name: volume.to_owned(), volume: guard.clone(), epoch: 0 };
        while let Claim::Held(owner) = self.claim(call, &wanted, 0).await? {
            if is_over() {
                return Err(self.held_by(&wanted, owner.as_ref()));
            }
            unless_cancelled(call, &what, pause()).await.map_err(EffectError::not_applied)?;
        }
        // A port of this machine may lead to an engine elsewhere: what was just made there must be seen here.
        if self.remote_host.is_none()
            && let Some(made) = self.volume_named(&guard).await?
        {
            hold.sees_files = std::fs::read_dir(Path::new(&made.mountpoint)).is_ok();
        }
        Ok(hold)
    }
}

impl Hold {
    fn guard(&self) -> String {
        format!("{PREFIX}{}", self.volume)
    }

    pub(super) async fn release(self) -> Result<(), EffectError> {
        self.engine.drop_volume(&self.guard()).await.map(drop)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.engine.volumes_held.end(&self.volume);
    }
}
