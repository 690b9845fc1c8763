//! Starts containers. `docker_run` creates and starts one, and removes it again when it cannot start.

use bollard::query_parameters::StartContainerOptions;

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::EffectError;
use crate::effect::container::{Container, ContainerSpec, port_taken_by_container};
use crate::world::Call;
use crate::world::docker::error::{Subject, await_reply, port_taken_in};

impl Containers {
    pub(super) async fn run(&self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        let created = self.create(call, spec).await?;
        let started = self.start_existing(&created).await;
        match started {
            Ok(container) => Ok(container),
            Err(error) => Err(self.remove_failed(&created, error).await),
        }
    }

    pub(in crate::world::docker) async fn start(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        let container = self.get(container).await?;
        if container.is_running() {
            return Ok(container);
        }
        match self.start_existing(&container).await {
            Ok(container) => Ok(container),
            Err(error) => Err(match self.get(&ContainerRef::new(container.id)).await {
                Ok(after) if !after.is_running() => error.not_applied(),
                _ => error,
            }),
        }
    }

    async fn start_existing(&self, container: &Container) -> Result<Container, EffectError> {
        let mut taken = None;
        let reply = async {
            let reply = self.client.docker.start_container(&container.id, None::<StartContainerOptions>).await;
            reply.inspect_err(|error| taken = port_taken_in(error))
        };
        if let Err(error) = await_reply(Subject::Start(&container.name), reply).await {
            return Err(match taken {
                Some(port) => self.name_port_publisher(error, port, container).await,
                None => error,
            });
        }
        self.get(&ContainerRef::new(container.id.clone())).await
    }

    /// Adds the name of the container that publishes the port, if there is one.
    async fn name_port_publisher(&self, error: EffectError, port: u16, container: &Container) -> EffectError {
        let is_published =
            container.ports.iter().any(|published| published.protocol == Protocol::Tcp && published.host_port == port);
        match self.ports.publisher(port).await {
            Ok(Some(publisher)) if is_published => {
                port_taken_by_container(port, &publisher, &format!("container `{}` cannot start", container.name))
            }
            _ => error,
        }
    }
}
