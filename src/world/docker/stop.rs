//! The end of containers: stop, kill, wait.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::TryStreamExt;

use super::container::missing_container;
use super::error::{About, ask, explain, found, within};
use super::{DockerEngine, unless_cancelled};
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, Ended, KillContainer, StopContainer, Stopped, WaitContainer};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Added to a stop's grace for the kill itself; less than what the gateway adds.
const STOP_SLACK: Duration = Duration::from_secs(12);
/// 128 + SIGKILL: the code of a container that was killed.
const KILLED: i64 = 137;

impl DockerEngine {
    pub(super) async fn stop(&self, request: &StopContainer) -> Result<Stopped, EffectError> {
        let container = match found(self.container_of(&request.container).await)? {
            Some(container) => container,
            None if request.missing_ok => return Ok(Stopped { exit_code: None, killed: false }),
            None => return Err(missing_container(&request.container)),
        };
        if !container.is_running() {
            return Ok(Stopped { exit_code: container.exit_code, killed: false });
        }
        let grace = request.grace.0;
        let asked_ms = self.clock.steady_ms();
        let ended_by_itself = match &request.signal {
            Some(signal) => self.signal_and_wait(&container, signal, grace).await?,
            None => false,
        };
        // Also after an own signal: it keeps a restart policy from starting the container again.
        let seconds = if request.signal.is_some() { 0 } else { whole_seconds(grace) };
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let answer = self.docker.stop_container(&container.id, Some(options));
        within(grace + STOP_SLACK, About::Container(&container.name), answer).await?;
        let waited = Duration::from_millis(self.clock.steady_ms() - asked_ms);
        // A container that was started to be removed at its end is gone now.
        let exit_code =
            found(self.container_of(&ContainerRef::new(container.id)).await)?.and_then(|after| after.exit_code);
        Ok(Stopped { exit_code, killed: !ended_by_itself && exit_code == Some(KILLED) && waited >= grace })
    }

    /// Whether the container ended within the grace.
    async fn signal_and_wait(&self, container: &Container, signal: &str, grace: Duration) -> Result<bool, EffectError> {
        match self.send_signal(container, signal).await {
            Ok(()) => {}
            // It ended in between.
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => return Ok(true),
            Err(error) => return Err(error),
        }
        match tokio::time::timeout(grace, self.exit_code_of(&container.id, &container.name)).await {
            Ok(ended) => ended.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    pub(super) async fn kill(&self, request: &KillContainer) -> Result<(), EffectError> {
        let container = self.container_of(&request.container).await?;
        self.send_signal(&container, &request.signal).await
    }

    async fn send_signal(&self, container: &Container, signal: &str) -> Result<(), EffectError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        ask(About::Container(&container.name), self.docker.kill_container(&container.id, Some(options))).await
    }

    pub(super) async fn wait(&self, call: &Call, request: &WaitContainer) -> Result<Ended, EffectError> {
        let container = self.container_of(&request.container).await?;
        let wait = async {
            let ended = self.exit_code_of(&container.id, &container.name);
            match tokio::time::timeout(request.timeout.0, ended).await {
                Ok(ended) => ended.map(|exit_code| Ended { exit_code }),
                Err(_) => Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("container `{}` still runs after {}", container.name, request.timeout),
                )
                .hint(format!("see what it does: docker logs --tail 50 {}", container.name))
                .not_applied()),
            }
        };
        unless_cancelled(call, "the wait for the container", wait).await
    }

    /// Waits for the end without a deadline of its own.
    async fn exit_code_of(&self, id: &str, name: &str) -> Result<i64, EffectError> {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        match self.docker.wait_container(id, Some(options)).try_next().await {
            Ok(Some(ended)) => Ok(ended.status_code),
            // The client library calls every code but 0 an error.
            Err(Error::DockerContainerWaitError { code, .. }) => Ok(code),
            Ok(None) => Err(EffectError::new(
                ErrorKind::Unavailable,
                format!("the docker engine broke off while container `{name}` was waited for"),
            )),
            Err(error) => Err(explain(error, About::Container(name))),
        }
    }
}

/// The engine counts whole seconds: rounded up, so that nobody gets less time than asked for.
fn whole_seconds(grace: Duration) -> i32 {
    i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_never_cut() {
        for (millis, seconds) in [(0, 0), (1, 1), (250, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
