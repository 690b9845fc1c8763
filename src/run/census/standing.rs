//! How each service stands: who serves, who waits, what is left over, and what needs a person. Derived from what runs
//! and who has the public port; labels say whose a container is, never whether it is live.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Census, OpenRun, Openness};
use crate::base::labels;
use crate::effect::container::{Container, ContainerState};
use crate::effect::lock::HeldLock;
use crate::effect::traffic::{ForgetRoute, Listed, RouteView};

/// Ends of the names under which a new version is proved beside the live one.
const PROVING: [&str; 2] = ["-green", "-new"];
/// End of the name under which it takes the public port.
const SUCCESSOR: &str = "-next";
/// End of the name of one that was set aside.
const PREDECESSOR: &str = "-blue";
/// What the scripts call the part of a container that is only proved.
const CANDIDATE: &str = "candidate";

/// Everything that `status` tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    pub engine: String,
    pub address: String,
    /// Whether nothing needs a person.
    pub well: bool,
    pub services: Vec<Service>,
    /// Unfinished runs that name no service.
    pub unfinished: Vec<OpenRun>,
    pub orphans: Vec<Orphan>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    pub service: String,
    pub instances: Vec<Instance>,
    /// Where it is reached, when a driver owns that address.
    pub route: Option<Listed>,
    /// Who holds its lock.
    pub lock: Option<HeldLock>,
    /// Runs that this machine's journal knows to be unfinished.
    pub unfinished: Vec<OpenRun>,
    /// What needs a person, a sentence each; empty when all is well.
    pub attention: Vec<String>,
}

/// One container of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instance {
    pub role: Role,
    pub name: String,
    pub id: String,
    /// The image's name as it was asked for.
    pub image: String,
    pub image_id: String,
    /// All names that the image has now.
    pub release: Vec<String>,
    pub commit: Option<String>,
    pub run: Option<String>,
    pub state: ContainerState,
    pub exit_code: Option<i64>,
    /// `starting`, `healthy`, `unhealthy`; none without a health check of the engine's.
    pub health: Option<String>,
    /// When it started, or was made if it never did: RFC 3339, UTC.
    pub since: Option<String>,
    /// `ADDRESS:PORT->CONTAINER_PORT/PROTOCOL`.
    pub published: Vec<String>,
}

/// What a container is to its service now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves.
    Live,
    /// Serves beside the live one.
    Replica,
    /// Gets requests when nobody else behind the route is well.
    Warm,
    /// Should serve and does not run.
    Down,
    /// Being proved by a run that is at work.
    Candidate,
    /// Was live before, stopped, kept.
    Old,
    /// Left by a run that is gone.
    LeftOver,
}

impl Role {
    /// The word that people and programs see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replica => "replica",
            Self::Warm => "warm",
            Self::Down => "down",
            Self::Candidate => "candidate",
            Self::Old => "old",
            Self::LeftOver => "left over",
        }
    }
}

/// Something that deployer made for a service that has no container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// `volume`, `network`.
    pub kind: &'static str,
    pub name: String,
    pub service: Option<String>,
    pub run: Option<String>,
    pub why: String,
}

impl Standing {
    /// How all services stand, or the one that is asked for.
    pub fn of(census: &Census, open: &[OpenRun], engine: &str, address: &str, only: Option<&str>) -> Self {
        let mut by_service: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for (container, service) in census.own_containers() {
            by_service.entry(service).or_default().push(container);
        }
        for route in &census.routes {
            by_service.entry(&route.service).or_default();
        }
        for lock in &census.locks {
            by_service.entry(&lock.service).or_default();
        }
        for service in open.iter().filter_map(|run| run.service.as_deref()) {
            by_service.entry(service).or_default();
        }
        let wanted = |service: &str| only.is_none_or(|only| only == service);
        let services: Vec<Service> = by_service
            .iter()
            .filter(|(service, _)| wanted(service))
            .map(|(service, containers)| stand(census, open, service, containers))
            .collect();
        let known: BTreeSet<&str> = by_service.keys().copied().collect();
        let mut orphans = orphans(census, &known);
        orphans.retain(|orphan| only.is_none() || orphan.service.as_deref() == only);
        let unfinished: Vec<OpenRun> =
            open.iter().filter(|run| only.is_none() && run.service.is_none()).cloned().collect();
        let well = services.iter().all(|service| service.attention.is_empty())
            && unfinished.iter().all(|run| run.state == Openness::UnderWay);
        Self { engine: engine.into(), address: address.into(), well, services, unfinished, orphans }
    }
}

fn stand(census: &Census, open: &[OpenRun], service: &str, containers: &[&Container]) -> Service {
    let at_work = census.at_work(service, open);
    let mut instances: Vec<Instance> = roles(service, containers, at_work, census.view_of(service))
        .into_iter()
        .map(|(role, container)| instance(census, role, container))
        .collect();
    instances.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
    let unfinished: Vec<OpenRun> = open.iter().filter(|run| run.service.as_deref() == Some(service)).cloned().collect();
    let lock = census.lock_of(service).cloned();
    let route = census.route_of(service).cloned();
    let mut attention = attention(service, &instances, lock.as_ref(), &unfinished, at_work);
    attention.extend(route.as_ref().and_then(route_trouble));
    Service { service: service.into(), instances, route, lock, unfinished, attention }
}

/// The part that each container of a service plays now.
pub fn roles<'a>(
    service: &str,
    containers: &[&'a Container],
    at_work: bool,
    route: Option<&RouteView>,
) -> Vec<(Role, &'a Container)> {
    let leader = route.and_then(RouteView::leader);
    let live = match leader {
        Some(leader) => containers.iter().copied().find(|container| leader.is_at(container)),
        None => live(service, containers),
    };
    let live = live.map(|container| container.id.as_str());
    let routed = |container: &Container| route?.targets.iter().find(|target| target.is_at(container));
    let role = |container: &Container| {
        match routed(container) {
            Some(_) if live == Some(container.id.as_str()) => {}
            Some(target) if target.weight > 0 && container.is_running() => return Role::Replica,
            Some(_) if container.is_running() => return Role::Warm,
            _ => {}
        }
        let temporary = is_proving(service, container) || container.name == format!("{service}{SUCCESSOR}");
        match container.is_running() {
            _ if live == Some(container.id.as_str()) => Role::Live,
            _ if temporary && at_work => Role::Candidate,
            _ if temporary => Role::LeftOver,
            true => Role::Replica,
            false if live.is_none() && container.name == service && !at_work => Role::Down,
            false if container.state == ContainerState::Created && !at_work => Role::LeftOver,
            false => Role::Old,
        }
    };
    containers.iter().map(|container| (role(container), *container)).collect()
}

/// Who serves: the running container that has the public port. Where there is no public port, the running one that
/// has the service's name.
fn live<'a>(service: &str, containers: &[&'a Container]) -> Option<&'a Container> {
    let named = |end: &str| containers.iter().copied().find(|container| container.name == format!("{service}{end}"));
    let main: Vec<&Container> = ["", SUCCESSOR, PREDECESSOR].into_iter().filter_map(named).collect();
    let public: BTreeSet<u16> = main.iter().flat_map(|container| &container.ports).map(|port| port.host_port).collect();
    let has_public = |container: &&&Container| container.ports.iter().any(|port| public.contains(&port.host_port));
    let others = || containers.iter().filter(|container| !is_proving(service, container));
    let running = |container: &&&Container| container.is_running();
    main.iter().filter(has_public).chain(main.iter()).find(running).copied().or_else(|| others().find(running).copied())
}

fn is_proving(service: &str, container: &Container) -> bool {
    PROVING.iter().any(|end| container.name == format!("{service}{end}"))
        || (container.name != service && container.labels.get(labels::ROLE).is_some_and(|role| role == CANDIDATE))
}

fn instance(census: &Census, role: Role, container: &Container) -> Instance {
    let image = census.image(&container.image_id);
    let label = |key: &str| container.labels.get(key).or_else(|| image?.labels.get(key)).cloned();
    Instance {
        role,
        name: container.name.clone(),
        id: container.id.clone(),
        image: container.image.clone(),
        image_id: container.image_id.clone(),
        release: image.map(|image| image.tags.clone()).unwrap_or_default(),
        commit: label(labels::COMMIT).or_else(|| label(labels::REVISION)),
        run: container.labels.get(labels::RUN).cloned(),
        state: container.state,
        exit_code: container.exit_code,
        health: container.health.clone(),
        since: container.started_at.clone().or_else(|| container.created_at.clone()),
        published: container
            .ports
            .iter()
            .map(|port| format!("{}:{}->{}/{}", port.address, port.host_port, port.container_port, port.protocol))
            .collect(),
    }
}

fn attention(
    service: &str,
    instances: &[Instance],
    lock: Option<&HeldLock>,
    unfinished: &[OpenRun],
    at_work: bool,
) -> Vec<String> {
    let mut all = Vec::new();
    let live = instances.iter().find(|instance| instance.role == Role::Live);
    match live {
        _ if at_work => {}
        None => {
            let down = instances.iter().find(|instance| instance.role == Role::Down);
            let code = down.and_then(|down| down.exit_code).map(|code| format!(", with code {code}"));
            all.push(match down {
                Some(down) => {
                    format!("nobody serves: `{}` has ended{}", down.name, code.unwrap_or_default())
                }
                None => format!("nobody serves: there is no container `{service}`"),
            });
        }
        Some(live) if live.health.as_deref() == Some("unhealthy") => {
            all.push(format!("`{}` is unhealthy: docker inspect {}", live.name, live.name));
        }
        Some(live) if live.state != ContainerState::Running => {
            all.push(format!("`{}` is {}", live.name, state_word(live.state)));
        }
        Some(_) => {}
    }
    all.extend(unfinished.iter().filter_map(OpenRun::what_to_do));
    let explained = unfinished.iter().any(|run| run.state != Openness::UnderWay);
    if let Some(lock) = lock.filter(|lock| lock.is_dead() && !explained) {
        all.push(format!("run {} is gone and left its lock: `deployer gc`", lock.holder.run));
    }
    let left = instances.iter().filter(|instance| instance.role == Role::LeftOver && !explained);
    all.extend(left.map(|left| format!("`{}` is left over from a run that is gone: `deployer gc`", left.name)));
    all
}

/// What is wrong with a route, in a sentence.
fn route_trouble(route: &Listed) -> Option<String> {
    let (driver, service) = (&route.driver, &route.service);
    match (&route.view, &route.error) {
        (_, Some(error)) => Some(format!(
            "the driver of its route cannot be asked: {}; if it is gone for good: `{}`",
            error.message,
            ForgetRoute::of_gone_driver(service)
        )),
        (None, None) => Some(format!("`{driver}` has lost its route: deploy `{service}` again")),
        (Some(view), None) => {
            let ill = view.targets.iter().find(|target| target.weight > 0 && !target.healthy)?;
            Some(format!("target `{}` at {} is not well, says `{driver}`", ill.name, ill.address))
        }
    }
}

/// A container's state in a word.
pub fn state_word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting => "restarting",
        ContainerState::Removing => "removing",
        ContainerState::Exited => "exited",
        ContainerState::Dead => "dead",
    }
}

/// Volumes of services without any container, and networks of deployer's that nobody is on.
fn orphans(census: &Census, known: &BTreeSet<&str>) -> Vec<Orphan> {
    let volumes = census.volumes.iter().filter_map(|volume| {
        let service = volume.labels.get(labels::SERVICE)?;
        let ours = volume.labels.contains_key(labels::EFFECT);
        (ours && !known.contains(service.as_str())).then(|| Orphan {
            kind: "volume",
            name: volume.name.clone(),
            service: Some(service.clone()),
            run: volume.labels.get(labels::RUN).cloned(),
            why: format!("service `{service}` has no container"),
        })
    });
    let networks = census.networks.iter().filter(|network| network.labels.contains_key(labels::EFFECT));
    let used = |name: &str| census.containers.iter().any(|container| container.networks.contains_key(name));
    let networks = networks.filter(|network| !used(&network.name)).map(|network| Orphan {
        kind: "network",
        name: network.name.clone(),
        service: None,
        run: network.labels.get(labels::RUN).cloned(),
        why: "no container is on it".into(),
    });
    volumes.chain(networks).collect()
}
