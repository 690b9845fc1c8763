//! Renames containers.

use bollard::query_parameters::RenameContainerOptionsBuilder;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, RenameContainer, container_name_taken, container_restarting};
use crate::effect::{EffectError, ErrorKind};
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;

impl Containers {
    pub(super) async fn rename(&self, request: &RenameContainer) -> Result<Container, EffectError> {
        let container = self.get(&request.container).await?;
        if container.name == request.name {
            return Ok(container);
        }
        names::validate("container", &request.name)?;
        let options = RenameContainerOptionsBuilder::new().name(&request.name).build();
        let reply = await_reply(
            Subject::Container(&container.name),
            self.client.docker.rename_container(&container.id, options),
        )
        .await;
        if let Err(error) = reply {
            return Err(match error.kind {
                ErrorKind::Conflict => container_name_taken(&request.name),
                ErrorKind::NotFound => self.rename_error(&container, error).await,
                _ => error,
            });
        }
        self.get(&ContainerRef::new(container.id)).await
    }

    /// The engine does not find the network of a container that is about to restart, and reverts the rename. A moment
    /// later the rename succeeds.
    async fn rename_error(&self, container: &Container, error: EffectError) -> EffectError {
        match self.get(&ContainerRef::new(&container.id)).await {
            Ok(_) => container_restarting(&container.name),
            Err(_) => error,
        }
    }
}
