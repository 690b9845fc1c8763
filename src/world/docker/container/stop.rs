//! Stops and kills containers.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, KillContainer, StopContainer, Stopped, container_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply, await_reply_within, none_if_missing};

/// Added to the grace period for the kill itself. Shorter than what the gateway adds.
const STOP_SLACK: Duration = Duration::from_secs(12);

/// 128 + SIGKILL: the exit code of a killed container.
const SIGKILL_EXIT_CODE: i64 = 137;

impl Containers {
    pub(in crate::world::docker) async fn stop(&self, request: &StopContainer) -> Result<Stopped, EffectError> {
        let container = match none_if_missing(self.get(&request.container).await)? {
            Some(container) => container,
            None if request.missing_ok => return Ok(Stopped { exit_code: None, killed: false }),
            None => return Err(container_not_found(&request.container)),
        };
        if !container.is_running() {
            return Ok(Stopped { exit_code: container.exit_code, killed: false });
        }
        let grace = request.grace.0;
        let start_ms = self.client.clock.steady_ms();
        let has_exited = match &request.signal {
            Some(signal) => self.signal_and_wait(&container, signal, grace).await?,
            None => false,
        };
        // Needed after a custom signal too: it keeps a restart policy from restarting the container.
        let seconds = if request.signal.is_some() { 0 } else { whole_seconds(grace) };
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let reply = self.client.docker.stop_container(&container.id, Some(options));
        await_reply_within(grace + STOP_SLACK, Subject::Container(&container.name), reply).await?;
        let waited = Duration::from_millis(self.client.clock.steady_ms() - start_ms);
        // A container with automatic removal no longer exists.
        let exit_code =
            none_if_missing(self.get(&ContainerRef::new(container.id)).await)?.and_then(|after| after.exit_code);
        Ok(Stopped { exit_code, killed: !has_exited && exit_code == Some(SIGKILL_EXIT_CODE) && waited >= grace })
    }

    /// Sends the signal and returns whether the container exited within the grace period.
    async fn signal_and_wait(&self, container: &Container, signal: &str, grace: Duration) -> Result<bool, EffectError> {
        match self.send_signal(container, signal).await {
            Ok(()) => {}
            // It exited in between.
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::NotFound) => return Ok(true),
            Err(error) => return Err(error),
        }
        match tokio::time::timeout(grace, self.exit_code_of(&container.id, &container.name)).await {
            Ok(ended) => ended.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    pub(super) async fn kill(&self, request: &KillContainer) -> Result<(), EffectError> {
        let container = self.get(&request.container).await?;
        self.send_signal(&container, &request.signal).await
    }

    async fn send_signal(&self, container: &Container, signal: &str) -> Result<(), EffectError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        await_reply(
            Subject::Container(&container.name),
            self.client.docker.kill_container(&container.id, Some(options)),
        )
        .await
    }
}

/// Converts to the engine's whole seconds, rounded up so that the grace period is never shorter than requested.
fn whole_seconds(grace: Duration) -> i32 {
    i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_period_is_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (250, 1), (1000, 1), (1001, 2), (u64::MAX, i32::MAX)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
