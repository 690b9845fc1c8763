//! Removes containers.

use std::time::Duration;

use bollard::query_parameters::RemoveContainerOptionsBuilder;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::container::{Container, RemoveContainer, Removed, container_is_running, container_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply, none_if_missing};

/// How long to wait for a removal that is already in progress, and how often to check.
const REMOVAL_WAIT: Duration = Duration::from_secs(20);
const REMOVAL_POLL: Duration = Duration::from_millis(100);

impl Containers {
    pub(super) async fn remove(&self, call: &Call, request: &RemoveContainer) -> Result<Removed, EffectError> {
        let container = match none_if_missing(self.get(&request.container).await)? {
            Some(container) => container,
            None if request.missing_ok => return Ok(Removed { removed: false }),
            None => return Err(container_not_found(&request.container)),
        };
        if request.only_own && container.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        self.remove_existing(&container, request.force, request.volumes).await?;
        Ok(Removed { removed: true })
    }

    /// Removes by id, so that another container which has the name by now is not affected.
    pub(in crate::world::docker) async fn remove_existing(
        &self,
        container: &Container,
        force: bool,
        volumes: bool,
    ) -> Result<(), EffectError> {
        let options = RemoveContainerOptionsBuilder::new().v(volumes).force(force).build();
        let reply = await_reply(
            Subject::Container(&container.name),
            self.client.docker.remove_container(&container.id, Some(options)),
        );
        match none_if_missing(reply.await) {
            Ok(_) => Ok(()),
            // A forced removal conflicts only with another removal in progress.
            Err(error) if force && error.kind == ErrorKind::Conflict => {
                self.wait_until_gone(container).await.then_some(()).ok_or(error)
            }
            Err(error) if error.kind == ErrorKind::Conflict && container.is_running() => {
                Err(container_is_running(&container.name).detail(error.message))
            }
            Err(error) => Err(error),
        }
    }

    async fn wait_until_gone(&self, container: &Container) -> bool {
        let id = ContainerRef::new(container.id.clone());
        let end = self.client.clock.steady_ms() + REMOVAL_WAIT.as_millis() as u64;
        while self.client.clock.steady_ms() < end {
            if matches!(none_if_missing(self.get(&id).await), Ok(None)) {
                return true;
            }
            self.client.clock.sleep(REMOVAL_POLL).await;
        }
        false
    }
}
