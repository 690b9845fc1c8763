//! Making and starting containers. A container that cannot start is taken away again.

use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};

use super::container_spec::{create_body, endpoint};
use super::error::{About, ask, missing_image};
use super::{DockerEngine, names};
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{Container, ContainerSpec};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl DockerEngine {
    pub(super) async fn run(&self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        let created = self.create(call, spec).await?;
        let started = self.start_found(&created).await;
        match started {
            Ok(container) => Ok(container),
            Err(error) => Err(self.take_away(&created, error).await),
        }
    }

    pub(super) async fn create(&self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        names::plain("container", &spec.name)?;
        names::image(&spec.image)?;
        for network in &spec.networks {
            names::plain("network", network)?;
        }
        for mount in spec.volumes.iter().filter(|mount| mount.is_volume()) {
            self.expect_whole(&mount.source).await?;
        }
        let mut body = create_body(spec, call.labels(), &call.vault)?;
        let more = spec.networks.iter().skip(1);
        let mut more: Vec<_> = more.map(|network| (network.clone(), endpoint(network, &spec.aliases))).collect();
        if let Some(model) = &spec.like {
            more.extend(self.fill_from(model, spec, &mut body).await?);
        }
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let answer = ask(About::NewContainer(&spec.name), self.docker.create_container(Some(options), body)).await;
        let id = match answer {
            Ok(response) => ContainerRef::new(response.id),
            Err(error) if error.kind == ErrorKind::NotFound => {
                // The engine answers the same to a missing image and to other missing things.
                return Err(match self.image_named(&spec.image).await {
                    Ok(None) => missing_image(&spec.image),
                    _ => error,
                });
            }
            Err(error) => return Err(error),
        };
        let created = self.container_of(&id).await?;
        let joins_more = !more.is_empty();
        for (network, settings) in more {
            let request = NetworkConnectRequest { container: id.key.clone(), endpoint_config: Some(settings) };
            if let Err(error) = ask(About::Network(&network), self.docker.connect_network(&network, request)).await {
                return Err(self.take_away(&created, error).await);
            }
        }
        if joins_more { self.container_of(&id).await } else { Ok(created) }
    }

    pub(super) async fn start(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        let container = self.container_of(container).await?;
        if container.is_running() {
            return Ok(container);
        }
        match self.start_found(&container).await {
            Ok(container) => Ok(container),
            Err(error) => Err(match self.container_of(&ContainerRef::new(container.id)).await {
                Ok(after) if !after.is_running() => error.not_applied(),
                _ => error,
            }),
        }
    }

    async fn start_found(&self, container: &Container) -> Result<Container, EffectError> {
        let answer = self.docker.start_container(&container.id, None::<StartContainerOptions>);
        if let Err(error) = ask(About::Start(&container.name), answer).await {
            return Err(self.name_port_holder(error, container).await);
        }
        self.container_of(&ContainerRef::new(container.id.clone())).await
    }

    /// Removes what was just made, keeping the reason why.
    async fn take_away(&self, container: &Container, error: EffectError) -> EffectError {
        match self.remove_found(container, true, true).await {
            Ok(()) => error.not_applied(),
            Err(_) => {
                let mut error = error;
                error.applied = crate::effect::Applied::Unknown;
                error
            }
        }
    }

    /// Adds which container has the port, where it is one.
    async fn name_port_holder(&self, error: EffectError, container: &Container) -> EffectError {
        if error.kind != ErrorKind::PortTaken {
            return error;
        }
        for published in container.ports.iter().filter(|port| port.protocol == Protocol::Tcp) {
            let port = published.host_port;
            if !error.message.starts_with(&format!("port {port} ")) {
                continue;
            }
            if let Ok(Some(holder)) = self.publisher(port).await {
                return EffectError::new(
                    ErrorKind::PortTaken,
                    format!(
                        "port {port} is taken by container `{holder}`, so container `{}` cannot start",
                        container.name
                    ),
                )
                .hint(format!("choose another port, or stop that container: docker stop {holder}"));
            }
        }
        error
    }
}
