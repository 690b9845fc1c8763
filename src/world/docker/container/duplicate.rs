//! Creates a container with the whole configuration of another one, under another name and with other labels. Environment
//! values pass only between the engine's own requests.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, NetworkConnectRequest};
use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions};

use super::Containers;
use super::like::{anonymous_volumes, mount_anonymous, networks};
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::Container;
use crate::world::docker::error::{Subject, await_reply};

impl Containers {
    /// Creates the duplicate, and does not start it. Its mounts are those of the model, anonymous volumes too.
    pub(in crate::world::docker) async fn duplicate(
        &self,
        model: &ContainerRef,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Container, EffectError> {
        let reply = self.client.docker.inspect_container(&model.key, None::<InspectContainerOptions>);
        let mut model = await_reply(Subject::Container(&model.key), reply).await?;
        let mut body = body_of(&mut model);
        body.labels = Some(labels.into_iter().collect());
        let first = body.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
        let (at_creation, later) = networks(model.network_settings, &model.id.unwrap_or_default(), &first, true);
        body.networking_config = at_creation;
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let reply = self.client.docker.create_container(Some(options), body);
        let id = ContainerRef::new(await_reply(Subject::NewContainer(name), reply).await?.id);
        let created = self.get(&id).await?;
        for (network, settings) in later {
            let request = NetworkConnectRequest { container: id.key.clone(), endpoint_config: Some(settings) };
            let reply = self.client.docker.connect_network(&network, request);
            if let Err(error) = await_reply(Subject::Network(&network), reply).await {
                return Err(self.remove_failed(&created, error).await);
            }
        }
        Ok(created)
    }
}

/// Takes the configuration out of an inspected container.
fn body_of(model: &mut ContainerInspectResponse) -> ContainerCreateBody {
    let config = model.config.take().unwrap_or_default();
    let mut host = model.host_config.take().unwrap_or_default();
    // The engine sets this itself and rejects a value.
    host.container_id_file = None;
    let anonymous = anonymous_volumes(&host, model.mounts.take());
    mount_anonymous(&mut host, anonymous);
    let id = model.id.as_deref().unwrap_or_default();
    ContainerCreateBody {
        image: model.image.take().or(config.image),
        // The engine's default is the container's own id.
        hostname: config.hostname.filter(|name| name.is_empty() || !id.starts_with(name.as_str())),
        domainname: config.domainname,
        user: config.user,
        attach_stdin: config.attach_stdin,
        attach_stdout: config.attach_stdout,
        attach_stderr: config.attach_stderr,
        exposed_ports: config.exposed_ports,
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        env: config.env,
        cmd: config.cmd,
        healthcheck: config.healthcheck,
        volumes: config.volumes,
        working_dir: config.working_dir,
        entrypoint: config.entrypoint,
        network_disabled: config.network_disabled,
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        shell: config.shell,
        host_config: Some(host),
        labels: Some(HashMap::new()),
        ..ContainerCreateBody::default()
    }
}
