//! The status of each service: the live container, candidates, leftovers, and what needs the operator. Derived from what
//! runs and which container publishes the public port. Labels say which service a container belongs to, never whether
//! it is live.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Inventory, UnfinishedRun, UnfinishedState};
use crate::base::labels;
use crate::effect::container::{Container, ContainerState};
use crate::effect::lock::HeldLock;
use crate::effect::traffic::{ForgetRoute, ListedRoute, RouteView};

/// Name suffixes of a new version that is tested next to the live one.
const TEST_SUFFIXES: [&str; 2] = ["-green", "-new"];
/// Name suffix of the version that takes over the public port.
const SUCCESSOR: &str = "-next";
/// Name suffix of the version that was set aside.
const PREDECESSOR: &str = "-blue";
/// The role label that scripts give a container that is only tested.
const CANDIDATE: &str = "candidate";

/// The status of all services of an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatuses {
    /// The kind of the engine.
    pub engine: String,
    /// Where the engine is.
    pub address: String,
    /// Whether nothing needs the operator.
    pub well: bool,
    /// Each service.
    pub services: Vec<ServiceStatus>,
    /// Unfinished runs without a service.
    pub unfinished: Vec<UnfinishedRun>,
    /// What deployer created for services that have no container.
    pub orphans: Vec<Orphan>,
}

/// The status of one service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// Its containers.
    pub instances: Vec<Instance>,
    /// Its route, if a driver owns its address.
    pub route: Option<ListedRoute>,
    /// Its lock, if a run holds it.
    pub lock: Option<HeldLock>,
    /// Its unfinished runs in the journal of this machine.
    pub unfinished: Vec<UnfinishedRun>,
    /// What needs the operator, one sentence each.
    pub attention: Vec<String>,
}

/// One container of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instance {
    /// What it is to the service.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The image's name as it was requested.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// All names that the image has now.
    pub release: Vec<String>,
    /// The commit that the image was built from.
    pub commit: Option<String>,
    /// The run that created it.
    pub run: Option<String>,
    /// Its state.
    pub state: ContainerState,
    /// Its exit code, if it has exited.
    pub exit_code: Option<i64>,
    /// `starting`, `healthy` or `unhealthy`; `None` without a health check of the engine.
    pub health: Option<String>,
    /// When it started, or was created if it never started: RFC 3339, UTC.
    pub since: Option<String>,
    /// `ADDRESS:PORT->CONTAINER_PORT/PROTOCOL`.
    pub published: Vec<String>,
}

/// What a container is to its service now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It serves.
    Live,
    /// It serves together with the live container.
    Replica,
    /// It gets requests when no other target of the route is healthy.
    Warm,
    /// It should serve, but does not run.
    Down,
    /// A run is testing it.
    Candidate,
    /// It was live before; it is stopped and kept.
    Old,
    /// An interrupted run left it.
    LeftOver,
}

impl Role {
    /// Returns the word that is shown.
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

/// Something that deployer created for a service that has no container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// `volume` or `network`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The service that it was created for.
    pub service: Option<String>,
    /// The run that created it.
    pub run: Option<String>,
    /// Why it is an orphan.
    pub why: String,
}

impl ServiceStatuses {
    /// Derives the status of all services, or of the one in `only`.
    pub fn of(inventory: &Inventory, open: &[UnfinishedRun], engine: &str, address: &str, only: Option<&str>) -> Self {
        let mut by_service: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
        for (container, service) in inventory.own_containers() {
            by_service.entry(service).or_default().push(container);
        }
        for route in &inventory.routes {
            by_service.entry(&route.service).or_default();
        }
        for lock in &inventory.locks {
            by_service.entry(&lock.service).or_default();
        }
        for service in open.iter().filter_map(|run| run.service.as_deref()) {
            by_service.entry(service).or_default();
        }
        let services: Vec<ServiceStatus> = by_service
            .iter()
            .filter(|(service, _)| only.is_none_or(|only| only == **service))
            .map(|(service, containers)| service_status(inventory, open, service, containers))
            .collect();
        let known: BTreeSet<&str> = by_service.keys().copied().collect();
        let mut orphans = orphans(inventory, &known);
        orphans.retain(|orphan| only.is_none() || orphan.service.as_deref() == only);
        let unfinished: Vec<UnfinishedRun> =
            open.iter().filter(|run| only.is_none() && run.service.is_none()).cloned().collect();
        let well = services.iter().all(|service| service.attention.is_empty())
            && unfinished.iter().all(|run| run.state == UnfinishedState::UnderWay);
        Self { engine: engine.into(), address: address.into(), well, services, unfinished, orphans }
    }
}

fn service_status(
    inventory: &Inventory,
    open: &[UnfinishedRun],
    service: &str,
    containers: &[&Container],
) -> ServiceStatus {
    let deploying = inventory.is_being_deployed(service, open);
    let mut instances: Vec<Instance> = roles(service, containers, deploying, inventory.view_of(service))
        .into_iter()
        .map(|(role, container)| instance(inventory, role, container))
        .collect();
    instances.sort_by(|a, b| (a.role, &a.name).cmp(&(b.role, &b.name)));
    let unfinished: Vec<UnfinishedRun> =
        open.iter().filter(|run| run.service.as_deref() == Some(service)).cloned().collect();
    let lock = inventory.lock_of(service).cloned();
    let route = inventory.route_of(service).cloned();
    let mut attention = attention(service, &instances, lock.as_ref(), &unfinished, deploying);
    attention.extend(route.as_ref().and_then(route_problem));
    ServiceStatus { service: service.into(), instances, route, lock, unfinished, attention }
}

/// Returns the role of each container of a service. `deploying` says whether a run may be changing the service.
pub fn roles<'a>(
    service: &str,
    containers: &[&'a Container],
    deploying: bool,
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
        let temporary = is_tested(service, container) || container.name == format!("{service}{SUCCESSOR}");
        match container.is_running() {
            _ if live == Some(container.id.as_str()) => Role::Live,
            _ if temporary && deploying => Role::Candidate,
            _ if temporary => Role::LeftOver,
            true => Role::Replica,
            false if live.is_none() && container.name == service && !deploying => Role::Down,
            false if container.state == ContainerState::Created && !deploying => Role::LeftOver,
            false => Role::Old,
        }
    };
    containers.iter().map(|container| (role(container), *container)).collect()
}

/// Returns the live container: the running one that publishes the public port. Without a public port, the running one
/// with the service's name.
fn live<'a>(service: &str, containers: &[&'a Container]) -> Option<&'a Container> {
    let named = |end: &str| containers.iter().copied().find(|container| container.name == format!("{service}{end}"));
    let main: Vec<&Container> = ["", SUCCESSOR, PREDECESSOR].into_iter().filter_map(named).collect();
    let public: BTreeSet<u16> = main.iter().flat_map(|container| &container.ports).map(|port| port.host_port).collect();
    let has_public = |container: &&&Container| container.ports.iter().any(|port| public.contains(&port.host_port));
    let others = || containers.iter().filter(|container| !is_tested(service, container));
    let running = |container: &&&Container| container.is_running();
    main.iter().filter(has_public).chain(main.iter()).find(running).copied().or_else(|| others().find(running).copied())
}

/// Returns whether the container is a new version that is only tested.
fn is_tested(service: &str, container: &Container) -> bool {
    TEST_SUFFIXES.iter().any(|end| container.name == format!("{service}{end}"))
        || (container.name != service && container.labels.get(labels::ROLE).is_some_and(|role| role == CANDIDATE))
}

fn instance(inventory: &Inventory, role: Role, container: &Container) -> Instance {
    let image = inventory.image(&container.image_id);
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
    unfinished: &[UnfinishedRun],
    deploying: bool,
) -> Vec<String> {
    let mut all = Vec::new();
    let live = instances.iter().find(|instance| instance.role == Role::Live);
    match live {
        _ if deploying => {}
        None => {
            let down = instances.iter().find(|instance| instance.role == Role::Down);
            let code = down.and_then(|down| down.exit_code).map(|code| format!(" with code {code}"));
            all.push(match down {
                Some(down) => {
                    format!("no live container: `{}` has exited{}", down.name, code.unwrap_or_default())
                }
                None => format!("no live container: container `{service}` does not exist"),
            });
        }
        Some(live) if live.health.as_deref() == Some("unhealthy") => {
            all.push(format!("`{}` is unhealthy: `deployer logs {}`", live.name, live.name));
        }
        Some(live) if live.state != ContainerState::Running => {
            all.push(format!("`{}` is {}", live.name, state_word(live.state)));
        }
        Some(_) => {}
    }
    all.extend(unfinished.iter().filter_map(UnfinishedRun::what_to_do));
    let explained = unfinished.iter().any(|run| run.state != UnfinishedState::UnderWay);
    if let Some(lock) = lock.filter(|lock| lock.is_dead() && !explained) {
        all.push(format!("run {} no longer exists, but its lock does: `deployer gc`", lock.holder.run));
    }
    let left = instances.iter().filter(|instance| instance.role == Role::LeftOver && !explained);
    all.extend(left.map(|left| format!("`{}` was left by an interrupted run: `deployer gc`", left.name)));
    all
}

/// Returns what is wrong with a route, in one sentence.
fn route_problem(route: &ListedRoute) -> Option<String> {
    let (driver, service) = (&route.driver, &route.service);
    match (&route.view, &route.error) {
        (_, Some(error)) => Some(format!(
            "the driver of its route does not answer: {}; if it is permanently gone: `{}`",
            error.message,
            ForgetRoute::script_for_gone_driver(service)
        )),
        (None, None) => Some(format!("`{driver}` has lost its route: deploy `{service}` again")),
        (Some(view), None) => {
            let unhealthy = view.targets.iter().find(|target| target.weight > 0 && !target.healthy)?;
            Some(format!("`{driver}` reports target `{}` at {} as unhealthy", unhealthy.name, unhealthy.address))
        }
    }
}

/// Returns the word for a container's state.
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

/// Returns the volumes of services without a container, and the networks of deployer that no container uses.
fn orphans(inventory: &Inventory, known: &BTreeSet<&str>) -> Vec<Orphan> {
    let volumes = inventory.volumes.iter().filter_map(|volume| {
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
    let networks = inventory.networks.iter().filter(|network| network.labels.contains_key(labels::EFFECT));
    let used = |name: &str| inventory.containers.iter().any(|container| container.networks.contains_key(name));
    let networks = networks.filter(|network| !used(&network.name)).map(|network| Orphan {
        kind: "network",
        name: network.name.clone(),
        service: None,
        run: network.labels.get(labels::RUN).cloned(),
        why: "no container uses it".into(),
    });
    volumes.chain(networks).collect()
}
