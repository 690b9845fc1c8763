//! A simulated copy of an engine as it is now: what a dry session and `:plan` act on. Reads the engine, changes nothing.
//!
//! Told as it is: names, images, ports, states, labels, volumes, networks. Not known from outside, so supposed: every
//! app answers 200 on every path, volumes and databases are empty, and no repository is there.

use std::collections::BTreeMap;

use crate::effect::EffectError;
use crate::effect::container::{Container, ContainerSpec};
use crate::effect::image::Image;
use crate::run::census::Census;
use crate::world::World;
use crate::world::sim::{Behaviour, Placed, Scenario, SimImage, SimNetwork, SimVolume, SimWorld};

/// Networks that every engine has of itself.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// The copy.
///
/// # Errors
/// What the engine says.
pub async fn dry_world(world: &dyn World) -> Result<SimWorld, EffectError> {
    let census = Census::take(world).await?;
    let mut scenario = Scenario { start_unix_ms: world.clock().unix_ms(), ..Scenario::bare() };
    scenario.images = census.images.iter().map(|image| of_image(image, &census.containers)).collect();
    scenario.images.extend(unnamed(&census));
    let volume = |labels: &BTreeMap<String, String>| SimVolume { labels: labels.clone(), ..SimVolume::default() };
    scenario.volumes = census.volumes.iter().map(|found| (found.name.clone(), volume(&found.labels))).collect();
    let networks = census.networks.iter().filter(|network| !BUILT_IN.contains(&network.name.as_str()));
    scenario.networks = networks
        .map(|network| {
            let labels = network.labels.clone();
            (network.name.clone(), SimNetwork { driver: network.driver.clone(), labels, ..SimNetwork::default() })
        })
        .collect();
    let placed = census.containers.iter().rev().filter_map(of_container);
    let all = Scenario { containers: placed.collect(), ..scenario.clone() };
    if let Ok(world) = SimWorld::new(all.clone()) {
        return Ok(world);
    }
    // What the simulated host refuses (two stopped containers of one port, say) is left out.
    for placed in all.containers {
        scenario.containers.push(placed);
        if SimWorld::new(scenario.clone()).is_err() {
            scenario.containers.pop();
        }
    }
    SimWorld::new(scenario)
}

/// The image by all names, and by its id, which containers of a lost name were made from.
fn of_image(image: &Image, containers: &[Container]) -> SimImage {
    let mut names = image.tags.clone();
    let by_id = containers.iter().filter(|container| container.image_id == image.id).map(|found| &found.image);
    for name in by_id {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let port = containers.iter().filter(|container| container.image_id == image.id).find_map(first_port);
    let behaviour = port.map_or_else(Behaviour::default, |port| Behaviour { port, ..Behaviour::default() });
    let name = names.first().cloned().unwrap_or_else(|| image.id.clone());
    SimImage {
        names: if names.is_empty() { vec![name.clone()] } else { names },
        size_mb: image.size >> 20,
        labels: image.labels.clone(),
        ..SimImage::new(&name, behaviour)
    }
}

/// Images that containers name and the engine does not list.
fn unnamed(census: &Census) -> Vec<SimImage> {
    let listed = |container: &Container| census.images.iter().any(|image| image.id == container.image_id);
    let mut names: Vec<&str> =
        census.containers.iter().filter(|found| !listed(found)).map(|found| found.image.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| SimImage::new(name, Behaviour::default())).collect()
}

fn first_port(container: &Container) -> Option<u16> {
    container.ports.first().map(|port| port.container_port)
}

fn of_container(container: &Container) -> Option<Placed> {
    let ports = container.ports.iter().filter(|port| !port.address.contains(':'));
    let ports: Vec<String> =
        ports.map(|port| format!("{}:{}:{}", port.address, port.host_port, port.container_port)).collect();
    let networks = container.networks.keys().filter(|name| !BUILT_IN.contains(&name.as_str()));
    let named = container.mounts.iter().filter(|mount| !mount.starts_with('/')).collect::<Vec<_>>();
    let spec = serde_json::json!({
        "name": container.name,
        "image": container.image,
        "ports": ports,
        "volumes": named,
        "networks": networks.collect::<Vec<_>>(),
        "labels": container.labels,
    });
    let bare = || serde_json::json!({"name": container.name, "image": container.image, "labels": container.labels});
    let read = |value| serde_json::from_value::<ContainerSpec>(value).ok();
    let spec = read(spec).or_else(|| read(bare()))?;
    Some(Placed { stopped: !container.is_running(), ..Placed::new(spec) })
}
