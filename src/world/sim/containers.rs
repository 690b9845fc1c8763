//! All containers of the simulated host, and the requests about them. Knows nothing of how they live and die.
//!
//! Faults: no such container, a taken name, a missing image, a bad name, a running container that is to be removed,
//! a stopped one that is to be entered or killed, a program inside that fails or takes too long, a wait that never ends.

use std::collections::BTreeMap;

use super::container::{Fate, SimContainer};
use super::lifecycle::{FIRST_CHOSEN_PORT, KILLED};
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::container::{
    Container, ContainerEffect, ContainerOutcome, ContainerSpec, ContainerState, Ended, KillContainer, ListContainers,
    Logs, RemoveContainer, Removed, RenameContainer, StopContainer, Stopped, WaitContainer,
};
use crate::effect::image::with_tag;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What the engine's own work takes, as measured on a small machine.
const CREATE_MS: u64 = 10;
const START_MS: u64 = 240;
const REMOVE_MS: u64 = 10;

/// Containers by name.
#[derive(Clone, Debug)]
pub(super) struct Containers {
    by_name: BTreeMap<String, SimContainer>,
    next_port: u16,
}

impl Default for Containers {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), next_port: FIRST_CHOSEN_PORT }
    }
}

impl Containers {
    pub(super) fn all(&self) -> impl Iterator<Item = &SimContainer> {
        self.by_name.values()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &SimContainer> {
        self.all().filter(|container| container.is_running())
    }

    pub(super) fn get(&self, name: &str) -> Option<&SimContainer> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut SimContainer> {
        self.by_name.get_mut(name)
    }

    /// By id, by name, or by the beginning of an id that only one has.
    pub(super) fn find(&self, wanted: &ContainerRef) -> Option<&SimContainer> {
        let wanted = wanted.key.trim_start_matches('/');
        if let Some(found) = self.all().find(|container| container.id == wanted).or_else(|| self.get(wanted)) {
            return Some(found);
        }
        let mut alike = self.all().filter(|container| container.id.starts_with(wanted));
        alike.next().filter(|_| alike.next().is_none())
    }

    /// Who publishes this TCP port, and the port inside.
    pub(super) fn publisher(&self, port: u16) -> Option<(&SimContainer, u16)> {
        self.running().find_map(|container| container.behind(port).map(|inside| (container, inside)))
    }

    pub(super) fn choose_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_CHOSEN_PORT);
        port
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<SimContainer> {
        self.by_name.remove(name)
    }
}

pub(super) fn missing(container: &ContainerRef) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("container `{container}` does not exist"))
        .hint("see which there are: docker ps -a")
        .not_applied()
}

fn taken(name: &str, id: &str) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("the name `{name}` is taken by container {}", &id[..12]))
        .hint(format!("docker rm -f {name}"))
        .not_applied()
}

/// Docker's rule: letters, digits, `_`, `.` and `-`, at least two, the first a letter or digit.
fn check_name(name: &str) -> Result<(), EffectError> {
    let fits = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fits {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Invalid, format!("`{name}` is not a container's name"))
        .hint("use letters, digits, `_`, `.` and `-`")
        .not_applied())
}

pub(super) fn not_running(name: &str) -> EffectError {
    EffectError::new(ErrorKind::Conflict, format!("container `{name}` is not running"))
        .hint(format!("docker start {name}"))
        .not_applied()
}

fn is_kill(signal: &str) -> bool {
    matches!(signal, "SIGKILL" | "KILL" | "9")
}

fn asks_to_end(signal: &str) -> bool {
    matches!(signal.strip_prefix("SIG").unwrap_or(signal), "TERM" | "INT" | "QUIT" | "2" | "3" | "15")
}

impl SimHost {
    pub(super) fn container(&mut self, call: &Call, effect: &ContainerEffect) -> Result<ContainerOutcome, EffectError> {
        Ok(match effect {
            ContainerEffect::Run(request) => ContainerOutcome::Run(self.run(call, &request.0)?),
            ContainerEffect::Create(request) => {
                let name = self.create(Some(call), &request.0)?;
                ContainerOutcome::Create(self.look(&ContainerRef::new(name))?)
            }
            ContainerEffect::Start(request) => {
                let name = self.name_of(&request.container)?;
                if let Some(stop) = request.stop_first() {
                    self.stop_container(&stop)?;
                }
                self.start(&name)?;
                ContainerOutcome::Start(self.look(&request.container)?)
            }
            ContainerEffect::Stop(request) => ContainerOutcome::Stop(self.stop_container(request)?),
            ContainerEffect::Kill(request) => ContainerOutcome::Kill(self.kill(request)?),
            ContainerEffect::Remove(request) => ContainerOutcome::Remove(self.remove_container(call, request)?),
            ContainerEffect::Rename(request) => ContainerOutcome::Rename(self.rename(request)?),
            ContainerEffect::Inspect(request) => {
                let found = self.containers.find(&request.container).map(|container| self.view(container));
                if found.is_none() && !request.missing_ok {
                    return Err(missing(&request.container));
                }
                ContainerOutcome::Inspect(found)
            }
            ContainerEffect::List(request) => ContainerOutcome::List(self.list(request)),
            ContainerEffect::Logs(request) => {
                let container = self.find(&request.container)?;
                ContainerOutcome::Logs(Logs { lines: container.tail(request.tail).to_vec() })
            }
            ContainerEffect::Exec(request) => ContainerOutcome::Exec(self.enter(call, request)?),
            ContainerEffect::Wait(request) => ContainerOutcome::Wait(self.wait(request)?),
            ContainerEffect::Stats(request) => ContainerOutcome::Stats(self.stats(&request.container)?),
        })
    }

    pub(super) fn find(&self, container: &ContainerRef) -> Result<&SimContainer, EffectError> {
        self.containers.find(container).ok_or_else(|| missing(container))
    }

    fn name_of(&self, container: &ContainerRef) -> Result<String, EffectError> {
        self.find(container).map(|container| container.name().to_owned())
    }

    pub(super) fn view(&self, container: &SimContainer) -> Container {
        container.view(&self.clock, self.now(), self.addresses(container))
    }

    fn look(&self, container: &ContainerRef) -> Result<Container, EffectError> {
        self.find(container).map(|container| self.view(container))
    }

    /// Makes a container and leaves it stopped. Named volumes that are missing come into being, without labels.
    pub(super) fn create(&mut self, call: Option<&Call>, spec: &ContainerSpec) -> Result<String, EffectError> {
        check_name(&spec.name)?;
        let filled = match &spec.like {
            Some(model) => spec.clone().filled_from(&self.find(model)?.spec),
            None => spec.clone(),
        };
        let spec = &filled;
        if let Some(call) = call {
            for text in spec.environment.values() {
                call.vault.reveal(text)?;
            }
        }
        let image = self.images.find(&spec.image).ok_or_else(|| super::images::missing(&spec.image))?;
        if let Some(other) = self.containers.get(&spec.name) {
            return Err(taken(&spec.name, &other.id));
        }
        let mut labels = image.labels.clone();
        labels.extend(spec.all_labels(call.map(Call::labels).into_iter().flatten()));
        let (image_id, behaviour) = (image.id.clone(), image.behaviour.clone());
        let networks = if spec.networks.is_empty() { vec!["bridge".to_owned()] } else { spec.networks.clone() };
        self.pass(CREATE_MS);
        for mount in spec.volumes.iter().filter(|mount| mount.is_volume()) {
            self.volumes.ensure(&mount.source);
        }
        let container = SimContainer {
            id: self.ids.next(),
            number: self.ids.count(),
            image_id,
            behaviour,
            labels,
            networks: networks.into_iter().map(|network| (network, spec.aliases.clone())).collect(),
            state: ContainerState::Created,
            exit_code: None,
            oom_killed: false,
            created_at: self.now(),
            started_at: None,
            fate: None,
            restart_at: None,
            restarts: 0,
            ports: Vec::new(),
            log: Vec::new(),
            spec: spec.clone(),
        };
        self.containers.by_name.insert(spec.name.clone(), container);
        Ok(spec.name.clone())
    }

    pub(super) fn start(&mut self, name: &str) -> Result<(), EffectError> {
        if self.containers.get(name).is_some_and(SimContainer::is_running) {
            return Ok(());
        }
        self.pass(START_MS);
        if let Some(container) = self.containers.get_mut(name) {
            container.restarts = 0;
        }
        let now = self.now();
        self.boot(name, now).map_err(EffectError::not_applied)?;
        self.settle();
        Ok(())
    }

    fn run(&mut self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        let name = self.create(Some(call), spec)?;
        if let Err(error) = self.start(&name) {
            self.containers.remove(&name);
            return Err(error);
        }
        self.look(&ContainerRef::new(name))
    }

    fn stop_container(&mut self, request: &StopContainer) -> Result<Stopped, EffectError> {
        let name = match self.name_of(&request.container) {
            Err(_) if request.missing_ok => return Ok(Stopped { exit_code: None, killed: false }),
            name => name?,
        };
        let at_once = request.signal.as_deref().is_some_and(is_kill);
        let active = self.containers.get(&name).is_some_and(SimContainer::is_active);
        let killed = active && self.stop(&name, whole_ms(request.grace.0), at_once);
        self.settle();
        Ok(Stopped { exit_code: self.find(&ContainerRef::new(name))?.exit_code, killed })
    }

    fn kill(&mut self, request: &KillContainer) -> Result<(), EffectError> {
        let name = self.name_of(&request.container)?;
        let now = self.now();
        let Some(container) = self.containers.get_mut(&name).filter(|container| container.is_running()) else {
            return Err(not_running(&name));
        };
        if is_kill(&request.signal) {
            self.stop(&name, 0, true);
        } else if asks_to_end(&request.signal) && !container.behaviour.ignores_term {
            let (after, exit_code) = (container.behaviour.stops_in_ms, container.behaviour.stop_exit_code);
            container.fate = Some(Fate { at: now + after, exit_code, oom: false, own: false });
        }
        Ok(())
    }

    fn remove_container(&mut self, call: &Call, request: &RemoveContainer) -> Result<Removed, EffectError> {
        let Some(container) = self.containers.find(&request.container) else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing(&request.container)) };
        };
        if request.only_own && container.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let name = container.name().to_owned();
        if container.is_active() && !request.force {
            return Err(EffectError::new(ErrorKind::Conflict, format!("container `{name}` is running"))
                .hint(format!("stop it first: docker stop {name}"))
                .not_applied());
        }
        let was_active = container.is_active();
        self.pass(REMOVE_MS);
        if was_active {
            self.cut_off(&name, self.now());
        }
        self.containers.remove(&name);
        Ok(Removed { removed: true })
    }

    fn rename(&mut self, request: &RenameContainer) -> Result<Container, EffectError> {
        let name = self.name_of(&request.container)?;
        check_name(&request.name)?;
        if name == request.name {
            return self.look(&request.container);
        }
        if let Some(other) = self.containers.get(&request.name) {
            return Err(taken(&request.name, &other.id));
        }
        let restarts = |container: &SimContainer| container.state == ContainerState::Restarting;
        if self.containers.get(&name).is_some_and(restarts) {
            let message = format!("container `{name}` cannot be renamed while it starts again");
            return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
        }
        if let Some(mut container) = self.containers.remove(&name) {
            container.spec.name.clone_from(&request.name);
            self.containers.by_name.insert(request.name.clone(), container);
        }
        self.look(&ContainerRef::new(request.name.clone()))
    }

    fn list(&self, request: &ListContainers) -> Vec<Container> {
        let wanted = request.wanted_labels();
        let made_from = |container: &SimContainer, image: &String| {
            with_tag(&container.spec.image) == with_tag(image)
                || self.images.find(image).is_some_and(|found| found.id == container.image_id)
        };
        let mut found: Vec<&SimContainer> = self
            .containers
            .all()
            .filter(|container| request.all || container.is_active())
            .filter(|container| request.name.as_ref().is_none_or(|name| name == container.name()))
            .filter(|container| request.image.as_ref().is_none_or(|image| made_from(container, image)))
            .filter(|container| carries(&container.labels, &wanted))
            .collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.number));
        found.into_iter().map(|container| self.view(container)).collect()
    }

    fn wait(&mut self, request: &WaitContainer) -> Result<Ended, EffectError> {
        let name = self.name_of(&request.container)?;
        let deadline = self.now() + whole_ms(request.timeout.0);
        loop {
            let container = self.find(&ContainerRef::new(name.clone()))?;
            if !container.is_active() {
                return Ok(Ended { exit_code: container.exit_code.unwrap_or_default() });
            }
            match container.fate.map(|fate| fate.at).or(container.restart_at).filter(|at| *at <= deadline) {
                Some(at) => self.clock.advance_to(at),
                None => break,
            }
            if self.containers.get(&name).is_some_and(|container| container.fate.is_some()) {
                self.settle();
                let code = self.containers.get(&name).and_then(|container| container.exit_code);
                return Ok(Ended { exit_code: code.unwrap_or(KILLED) });
            }
            self.settle();
        }
        self.clock.advance_to(deadline);
        Err(EffectError::new(ErrorKind::Timeout, format!("container `{name}` still runs after {}", request.timeout))
            .hint(format!("docker logs {name}")))
    }
}

/// Whether all wanted labels are there; an empty value asks for the key alone.
pub(super) fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|found| value.is_empty() || found == value))
}
