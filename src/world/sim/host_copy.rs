//! Copies a real host into a scenario, using only reads. What reads cannot show is assumed: apps boot in the default
//! time, listen on the ports they are asked on, and restart with the engine.
//!
//! Faults: none of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::model::behaviour::Behaviour;
use super::model::image::SimImage;
use super::model::machine::SimMachine;
use super::model::network::SimNetwork;
use super::model::route::SimRoute;
use super::model::scenario::{InitialContainer, Scenario};
use super::model::volume::SimVolume;
use super::sim_host::SimHost;
use crate::base::port_mapping::PortMapping;
use crate::base::text::Text;
use crate::effect::container::{
    Container, ContainerOutcome, ContainerSpec, ListContainers, PublishedPort, RestartPolicy,
};
use crate::effect::host::{HostDisk, HostMemory, HostOutcome};
use crate::effect::image::{Image, ImageOutcome, ListImages};
use crate::effect::network::{BUILT_IN_NETWORKS, ListNetworks, Network, NetworkOutcome};
use crate::effect::traffic::{ListRoutes, RouteStatus, ShowRoute, TrafficOutcome};
use crate::effect::volume::{ListVolumes, Volume, VolumeOutcome};
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::{Call, World};

/// Returns a copy of this world's host, as far as reads can show it.
///
/// # Errors
/// Returns an error if the engine does not answer.
pub async fn copy_host(world: &dyn World, call: &Call) -> Result<Scenario, EffectError> {
    let mut scenario = Scenario { permissive: true, start_unix_ms: world.clock().unix_ms(), ..Scenario::bare() };
    let containers = containers(world, call).await?;
    let images = images(world, call).await?;
    scenario.images = images.iter().map(image).collect();
    let lost: BTreeSet<&String> = containers.iter().map(|container| &container.image_id).collect();
    let lost = lost.into_iter().filter(|id| images.iter().all(|image| image.id != **id));
    // Its name may refer to another image by now.
    scenario.images.extend(lost.map(|id| SimImage {
        names: Vec::new(),
        id: Some(id.clone()),
        ..SimImage::new("", Behaviour::unknown())
    }));
    scenario.volumes = volumes(world, call).await?;
    scenario.networks = networks(world, call).await?;
    for network in containers.iter().flat_map(|container| container.networks.keys()) {
        if !BUILT_IN_NETWORKS.contains(&network.as_str()) {
            scenario.networks.entry(network.clone()).or_default();
        }
    }
    scenario.routes = routes(world, call).await?;
    scenario.machine = machine(world, call).await;
    let used: u64 = containers.iter().filter(|container| container.is_running()).map(|_| MEMORY_MB).sum();
    scenario.machine.memory_used_mb = scenario.machine.memory_used_mb.saturating_sub(used);
    Ok(with_containers(scenario, containers.iter().map(placed)))
}

/// Returns the scenario with all containers that the simulated host accepts. A container it does not accept is left out
/// with a warning: the plan is worth more than the container.
fn with_containers(scenario: Scenario, containers: impl Iterator<Item = InitialContainer>) -> Scenario {
    let whole = Scenario { containers: containers.collect(), ..scenario.clone() };
    if SimHost::new(whole.clone()).is_ok() {
        return whole;
    }
    let mut taken = scenario;
    for placed in whole.containers {
        let name = placed.spec.name.clone();
        taken.containers.push(placed);
        if let Err(error) = SimHost::new(taken.clone()) {
            tracing::warn!("container `{name}` is left out of the simulated copy: {error}");
            taken.containers.pop();
        }
    }
    taken
}

/// The memory that the simulation counts for an app that is not described.
const MEMORY_MB: u64 = 64;

fn unexpected(effect: &Effect) -> EffectError {
    let message = format!("`{}` returned an unexpected outcome", effect.kind());
    EffectError::new(crate::effect::ErrorKind::Internal, message)
}

async fn ask(world: &dyn World, call: &Call, effect: impl Into<Effect>) -> Result<(Effect, Outcome), EffectError> {
    let effect = effect.into();
    let outcome = world.perform(call, &effect).await?;
    Ok((effect, outcome))
}

async fn containers(world: &dyn World, call: &Call) -> Result<Vec<Container>, EffectError> {
    let all = ListContainers { all: true, ..ListContainers::default() };
    match ask(world, call, all).await? {
        (_, Outcome::Container(ContainerOutcome::List(found))) => Ok(found),
        (effect, _) => Err(unexpected(&effect)),
    }
}

async fn images(world: &dyn World, call: &Call) -> Result<Vec<Image>, EffectError> {
    match ask(world, call, ListImages::default()).await? {
        (_, Outcome::Image(ImageOutcome::List(found))) => Ok(found),
        (effect, _) => Err(unexpected(&effect)),
    }
}

async fn volumes(world: &dyn World, call: &Call) -> Result<BTreeMap<String, SimVolume>, EffectError> {
    let labelled = |volume: Volume| (volume.name, SimVolume { labels: volume.labels, ..SimVolume::default() });
    match ask(world, call, ListVolumes::default()).await? {
        (_, Outcome::Volume(VolumeOutcome::List(found))) => Ok(found.into_iter().map(labelled).collect()),
        (effect, _) => Err(unexpected(&effect)),
    }
}

async fn networks(world: &dyn World, call: &Call) -> Result<BTreeMap<String, SimNetwork>, EffectError> {
    let network = |found: Network| {
        (found.name, SimNetwork { driver: found.driver, labels: found.labels, ..SimNetwork::default() })
    };
    match ask(world, call, ListNetworks::default()).await? {
        (_, Outcome::Network(NetworkOutcome::List(found))) => Ok(found
            .into_iter()
            .filter(|network| !BUILT_IN_NETWORKS.contains(&network.name.as_str()))
            .map(network)
            .collect()),
        (effect, _) => Err(unexpected(&effect)),
    }
}

/// Reads the routes whose driver answers; the others are unknown.
async fn routes(world: &dyn World, call: &Call) -> Result<BTreeMap<String, SimRoute>, EffectError> {
    let listed = match ask(world, call, ListRoutes { container: None }).await? {
        (_, Outcome::Traffic(TrafficOutcome::List(listed))) => listed,
        (effect, _) => return Err(unexpected(&effect)),
    };
    let mut routes = BTreeMap::new();
    for route in listed {
        let show = ShowRoute { service: route.service.clone(), missing_ok: true };
        if let Ok((_, Outcome::Traffic(TrafficOutcome::Show(Some(standing))))) = ask(world, call, show).await {
            routes.insert(route.service, SimRoute::from_status(standing));
        }
    }
    Ok(routes)
}

/// Reads the resources of the machine. A remote machine does not report them.
async fn machine(world: &dyn World, call: &Call) -> SimMachine {
    let mut machine = SimMachine::default();
    if let Ok((_, Outcome::Host(HostOutcome::Memory(memory)))) = ask(world, call, HostMemory {}).await {
        machine.memory_mb = memory.total_mb;
        let available = memory.available_mb.unwrap_or(memory.total_mb);
        machine.memory_used_mb = memory.total_mb.saturating_sub(available);
    }
    if let Ok((_, Outcome::Host(HostOutcome::Disk(disk)))) = ask(world, call, HostDisk { path: "/".into() }).await {
        (machine.disk_mb, machine.disk_free_mb) = (disk.total_mb, disk.available_mb);
    }
    machine
}

fn image(image: &Image) -> SimImage {
    SimImage {
        names: image.tags.clone(),
        size_mb: image.size >> 20,
        labels: image.labels.clone(),
        id: Some(image.id.clone()),
        ..SimImage::new("", Behaviour::unknown())
    }
}

fn placed(container: &Container) -> InitialContainer {
    let mut ports: Vec<PortMapping> = container.ports.iter().map(mapping).collect();
    ports.sort();
    ports.dedup_by_key(|mapping| (mapping.host_port, mapping.protocol));
    let environment = container.environment.iter().map(|name| (name.clone(), Text::plain(""))).collect();
    let spec = ContainerSpec {
        name: container.name.clone(),
        image: container.image.clone(),
        command: None,
        entrypoint: None,
        environment,
        ports,
        volumes: container.mounts.iter().filter_map(|mount| mount.parse().ok()).collect(),
        networks: container.networks.keys().cloned().collect(),
        aliases: Vec::new(),
        restart: RestartPolicy::UnlessStopped,
        mem_limit: None,
        cpus: None,
        healthcheck: None,
        labels: container.labels.clone(),
        user: None,
        working_dir: None,
        hostname: None,
        init: false,
        read_only: false,
        extra_hosts: Vec::new(),
        stop_signal: None,
        service: None,
        role: None,
        like: None,
    };
    InitialContainer {
        spec,
        stopped: !container.is_running(),
        id: Some(container.id.clone()),
        image_id: Some(container.image_id.clone()),
    }
}

fn mapping(port: &PublishedPort) -> PortMapping {
    PortMapping {
        address: port.address.parse().ok().filter(|address: &std::net::IpAddr| !address.is_unspecified()),
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: port.protocol,
    }
}

impl SimRoute {
    /// Returns the current state of a real route.
    fn from_status(standing: RouteStatus) -> Self {
        let view = standing.view;
        Self {
            targets: view.step().targets,
            driver: standing.driver,
            route: view.route,
            probe: standing.probe,
            epoch: view.epoch,
            sticky: view.sticky,
            canary: view.canary,
            mirror: view.mirror,
            held_until: None,
            hold: view.hold,
            draining: Default::default(),
            served: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, image: &str, port: &str) -> InitialContainer {
        let spec = serde_json::json!({"name": name, "image": image, "ports": [port]});
        InitialContainer {
            image_id: Some(format!("sha256:{}", "a".repeat(64))),
            ..InitialContainer::new(serde_json::from_value(spec).unwrap())
        }
    }

    fn host() -> Scenario {
        let id = Some(format!("sha256:{}", "a".repeat(64)));
        let previous = SimImage { names: Vec::new(), id, ..SimImage::new("", Behaviour::unknown()) };
        Scenario { images: vec![previous, SimImage::new("web:live", Behaviour::unknown())], ..Scenario::bare() }
    }

    #[test]
    fn a_container_outlives_the_name_of_its_image() {
        let copied = with_containers(host(), [container("web", "web:live", "80:80")].into_iter());
        let mut host = SimHost::new(copied).unwrap();
        let (images, standing) = (host.snapshot().images, host.snapshot().containers.remove("web").unwrap());
        assert_ne!(images["web:live"], standing.image_id);
        assert!(standing.image_id.ends_with("aaa"));
    }

    #[test]
    fn what_the_simulated_host_refuses_is_left_out() {
        let all = [
            container("one", "web:live", "80:80"),
            container("two", "web:live", "80:80"),
            container("three", "x", "81:80"),
        ];
        let names: Vec<String> =
            with_containers(host(), all.into_iter()).containers.into_iter().map(|c| c.spec.name).collect();
        assert_eq!(names, ["one", "three"]);
    }
}
