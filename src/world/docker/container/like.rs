//! Creates a container like an existing one (option `like`). Settings that the existing container got from its image
//! are left out: the new image has its own. Environment values pass only between the engine's own requests.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, ImageConfig, MountPoint,
    NetworkSettings, NetworkingConfig,
};
use bollard::query_parameters::InspectContainerOptions;

use super::Containers;
use super::create_request::{endpoint, supports_aliases};
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{ContainerSpec, RestartPolicy};
use crate::world::docker::error::{Subject, await_reply};

impl Containers {
    /// Fills what `spec` leaves open in `body` from the container `model`. Returns the networks that the new container
    /// must be connected to after its creation: older engines accept only one at creation.
    pub(super) async fn apply_model(
        &self,
        model: &ContainerRef,
        spec: &ContainerSpec,
        body: &mut ContainerCreateBody,
    ) -> Result<Vec<(String, EndpointSettings)>, EffectError> {
        let reply = self.client.docker.inspect_container(&model.key, None::<InspectContainerOptions>);
        let model = await_reply(Subject::Container(&model.key), reply).await?;
        let image = match &model.image {
            Some(id) => await_reply(Subject::Image(id), self.client.docker.inspect_image(id))
                .await
                .ok()
                .and_then(|image| image.config),
            None => None,
        };
        Ok(fill(body, spec, model, &image.unwrap_or_default()))
    }
}

fn fill(
    body: &mut ContainerCreateBody,
    spec: &ContainerSpec,
    model: ContainerInspectResponse,
    image: &ImageConfig,
) -> Vec<(String, EndpointSettings)> {
    let config = model.config.unwrap_or_default();
    // A setting that equals the image's own came from there.
    fn not_from_image<T: PartialEq>(value: Option<T>, image: &Option<T>) -> Option<T> {
        value.filter(|value| image.as_ref() != Some(value))
    }
    body.cmd = body.cmd.take().or_else(|| not_from_image(config.cmd, &image.cmd));
    body.entrypoint = body.entrypoint.take().or_else(|| not_from_image(config.entrypoint, &image.entrypoint));
    body.user = body.user.take().or_else(|| not_from_image(config.user, &image.user)).filter(|user| !user.is_empty());
    let working_dir = not_from_image(config.working_dir, &image.working_dir).filter(|folder| !folder.is_empty());
    body.working_dir = body.working_dir.take().or(working_dir);
    body.stop_signal = body.stop_signal.take().or_else(|| not_from_image(config.stop_signal, &image.stop_signal));
    body.healthcheck = body.healthcheck.take().or_else(|| not_from_image(config.healthcheck, &image.healthcheck));
    body.env = Some(environment(body.env.take(), config.env, image.env.as_deref().unwrap_or_default()));
    let from_image = image.labels.clone().unwrap_or_default();
    let labels = body.labels.get_or_insert_default();
    for (key, value) in config.labels.unwrap_or_default() {
        let is_user_label = !key.starts_with("deployer.") && !key.starts_with("com.docker.compose.");
        if is_user_label && from_image.get(&key) != Some(&value) {
            labels.entry(key).or_insert(value);
        }
    }
    if spec.ports.is_empty() {
        body.exposed_ports = config.exposed_ports;
    }
    let model_host = model.host_config.unwrap_or_default();
    let anonymous = anonymous_volumes(&model_host, model.mounts);
    let mut host = host_config(body.host_config.take().unwrap_or_default(), spec, model_host);
    mount_anonymous(&mut host, anonymous);
    body.host_config = Some(host);
    if !spec.networks.is_empty() {
        return Vec::new();
    }
    let first = body.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    let (at_creation, later) = networks(model.network_settings, &model.id.unwrap_or_default(), &first, false);
    if at_creation.is_some() {
        body.networking_config = at_creation;
    }
    later
}

/// Returns the networks of a container, for another one to join: the `first` at its creation, the others later. Addresses
/// that were set for the container are taken over with `same_address`.
pub(super) fn networks(
    settings: Option<NetworkSettings>,
    id: &str,
    first: &str,
    same_address: bool,
) -> (Option<NetworkingConfig>, Vec<(String, EndpointSettings)>) {
    let joined = settings.and_then(|settings| settings.networks).unwrap_or_default();
    let (at_creation, later): (Vec<_>, Vec<_>) = joined
        .into_iter()
        .filter(|(network, _)| supports_aliases(network))
        .map(|(network, settings)| {
            // The engine adds the container's short id to its aliases.
            let mut aliases = settings.aliases.unwrap_or_default();
            aliases.retain(|alias| !id.starts_with(alias.as_str()));
            let ipam_config = settings.ipam_config.filter(|_| same_address);
            let settings = EndpointSettings { ipam_config, ..endpoint(&network, &aliases) };
            (network, settings)
        })
        .partition(|(network, _)| *network == first);
    let endpoints: HashMap<_, _> = at_creation.into_iter().collect();
    let at_creation = (!endpoints.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(endpoints) });
    (at_creation, later)
}

/// Returns the volumes that an image's `VOLUME` made for a container, as binds.
pub(super) fn anonymous_volumes(host: &HostConfig, mounts: Option<Vec<MountPoint>>) -> Vec<String> {
    let bind = |mount: MountPoint| {
        let (volume, target) = (mount.name?, mount.destination?);
        let is_anonymous = mount.typ.as_deref() == Some("volume") && !is_mounted(host, &target);
        let mode = if mount.rw == Some(false) { ":ro" } else { "" };
        is_anonymous.then(|| format!("{volume}:{target}{mode}"))
    };
    mounts.unwrap_or_default().into_iter().filter_map(bind).collect()
}

/// Mounts these volumes where nothing else is mounted.
pub(super) fn mount_anonymous(host: &mut HostConfig, volumes: Vec<String>) {
    for bind in volumes {
        let target = bind.split(':').nth(1).unwrap_or_default();
        if !is_mounted(host, target) {
            host.binds.get_or_insert_default().push(bind);
        }
    }
}

fn is_mounted(host: &HostConfig, target: &str) -> bool {
    host.binds.iter().flatten().any(|bind| bind.split(':').nth(1) == Some(target))
        || host.mounts.iter().flatten().any(|mount| mount.target.as_deref() == Some(target))
}

fn environment(given: Option<Vec<String>>, model: Option<Vec<String>>, image: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut all = given.unwrap_or_default();
    for entry in model.unwrap_or_default() {
        if !image.contains(&entry) && all.iter().all(|existing| name(existing) != name(&entry)) {
            all.push(entry);
        }
    }
    all
}

/// Returns the model's settings, overridden by those of the script.
fn host_config(given: HostConfig, spec: &ContainerSpec, model: HostConfig) -> HostConfig {
    let mut all = model;
    // The engine sets this itself and rejects a value.
    all.container_id_file = None;
    if !spec.ports.is_empty() {
        all.port_bindings = given.port_bindings;
    }
    if !spec.volumes.is_empty() {
        all.mounts = given.mounts;
        all.binds = given.binds;
    }
    if !spec.networks.is_empty() {
        all.network_mode = given.network_mode;
    }
    if spec.restart != RestartPolicy::No {
        all.restart_policy = given.restart_policy;
    }
    all.memory = given.memory.or(all.memory);
    all.nano_cpus = given.nano_cpus.or(all.nano_cpus);
    all.init = given.init.or(all.init);
    all.readonly_rootfs = given.readonly_rootfs.or(all.readonly_rootfs);
    all.extra_hosts = given.extra_hosts.or(all.extra_hosts);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_old_image_are_left_out() {
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let all = environment(
            Some(strings(&["A=new"])),
            Some(strings(&["A=old", "B=2", "PATH=/bin"])),
            &strings(&["PATH=/bin"]),
        );
        assert_eq!(all, ["A=new", "B=2"]);
    }
}
