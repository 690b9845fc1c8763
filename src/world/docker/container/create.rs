//! Creates containers. Removes a container again when it cannot be connected to all of its networks.

use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::Containers;
use super::create_request::{create_body, endpoint};
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, ContainerSpec};
use crate::effect::image::image_not_found;
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;

impl Containers {
    pub(super) async fn create(&self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        names::validate("container", &spec.name)?;
        names::validate_image(&spec.image)?;
        for network in &spec.networks {
            names::validate("network", network)?;
        }
        for mount in spec.volumes.iter().filter(|mount| mount.is_volume()) {
            self.volumes.expect_complete(&mount.source).await?;
        }
        let mut body = create_body(spec, call.labels(), &call.vault)?;
        let further = spec.networks.iter().skip(1);
        let mut further: Vec<_> = further.map(|network| (network.clone(), endpoint(network, &spec.aliases))).collect();
        if let Some(model) = &spec.like {
            further.extend(self.apply_model(model, spec, &mut body).await?);
        }
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let reply =
            await_reply(Subject::NewContainer(&spec.name), self.client.docker.create_container(Some(options), body))
                .await;
        let id = match reply {
            Ok(response) => ContainerRef::new(response.id),
            Err(error) if error.kind == ErrorKind::NotFound => {
                // The engine's reply is the same for a missing image and for other missing objects.
                return Err(match self.images.find(&spec.image).await {
                    Ok(None) => image_not_found(&spec.image),
                    _ => error,
                });
            }
            Err(error) => return Err(error),
        };
        let created = self.get(&id).await?;
        let has_further_networks = !further.is_empty();
        for (network, settings) in further {
            let request = NetworkConnectRequest { container: id.key.clone(), endpoint_config: Some(settings) };
            if let Err(error) =
                await_reply(Subject::Network(&network), self.client.docker.connect_network(&network, request)).await
            {
                return Err(self.remove_failed(&created, error).await);
            }
        }
        if has_further_networks { self.get(&id).await } else { Ok(created) }
    }

    /// Removes a container that could not be set up or started, and returns the original error.
    pub(super) async fn remove_failed(&self, container: &Container, error: EffectError) -> EffectError {
        match self.remove_existing(container, true, true).await {
            Ok(()) => error.not_applied(),
            Err(_) => {
                let mut error = error;
                error.applied = Applied::Unknown;
                error
            }
        }
    }
}
