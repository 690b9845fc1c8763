//! A child process and its descendants in the same process group.

use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

use crate::world::clock::Clock;

/// Time between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// How often a group is checked for its end.
const KILL_PAUSE: Duration = Duration::from_millis(20);

/// A process and everything that it started and that did not leave its process group.
///
/// Dropping it kills the group, unless [`ProcessGroup::release`] was called.
pub(super) struct ProcessGroup {
    child: Option<Child>,
    id: Option<Pid>,
    is_released: bool,
}

impl ProcessGroup {
    pub(super) fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Self { child: Some(child), id, is_released: false }
    }

    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }
    }

    /// Leaves the rest of the group running: its leader has ended by itself.
    pub(super) fn release(mut self) {
        self.is_released = true;
    }

    /// Ends the group with SIGTERM and then SIGKILL, and waits for its end.
    pub(super) async fn kill(mut self, clock: &dyn Clock) {
        self.is_released = true;
        if let (Some(id), Some(child)) = (self.id, self.child.take()) {
            kill_group(id, child, |pause| clock.sleep(pause)).await;
        }
    }
}

/// Ends a group. Only this function reaps the leader, so the group's id cannot be reused in the meantime.
async fn kill_group<F: Future<Output = ()>>(id: Pid, mut child: Child, sleep: impl Fn(Duration) -> F) {
    let _ = killpg(id, Signal::SIGTERM);
    let mut remaining = KILL_GRACE;
    while remaining > Duration::ZERO {
        let reaped = matches!(child.try_wait(), Ok(Some(_)));
        if reaped && killpg(id, None) == Err(Errno::ESRCH) {
            return;
        }
        sleep(KILL_PAUSE).await;
        remaining = remaining.saturating_sub(KILL_PAUSE);
    }
    let _ = killpg(id, Signal::SIGKILL);
    let _ = child.wait().await;
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let (Some(id), Some(child), false) = (self.id, self.child.take(), self.is_released) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(kill_group(id, child, tokio::time::sleep));
            }
            Err(_) => {
                let _ = killpg(id, Signal::SIGKILL);
            }
        }
    }
}
