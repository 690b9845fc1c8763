//! Creates, runs and renames simulated containers.
//!
//! Faults: a bad name, a name that is taken, an image or secret that is missing.

use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{
    Container, ContainerSpec, ContainerState, RenameContainer, container_name_taken, container_restarting,
    name_not_valid,
};
use crate::effect::image::image_not_found;
use crate::world::Call;
use crate::world::sim::model::container::SimContainer;
use crate::world::sim::sim_host::SimHost;

/// The time the engine itself takes, as measured on a small machine.
const CREATE_MS: u64 = 10;

impl SimHost {
    /// Creates a container without starting it. Missing named volumes are created without labels.
    pub(crate) fn create(&mut self, call: Option<&Call>, spec: &ContainerSpec) -> Result<String, EffectError> {
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
        let image = self.images.find(&spec.image).ok_or_else(|| image_not_found(&spec.image))?;
        if self.containers.get(&spec.name).is_some() {
            return Err(container_name_taken(&spec.name));
        }
        let mut labels = image.labels.clone();
        labels.extend(spec.all_labels(call.map(Call::labels).into_iter().flatten()));
        let (image_id, behaviour) = (image.id.clone(), image.behaviour.clone());
        let networks = if spec.networks.is_empty() { vec!["bridge".to_owned()] } else { spec.networks.clone() };
        self.advance(CREATE_MS);
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
            pending_exit: None,
            restart_at: None,
            restarts: 0,
            ports: Vec::new(),
            log: Vec::new(),
            spec: spec.clone(),
        };
        self.containers.insert(container);
        Ok(spec.name.clone())
    }

    pub(crate) fn run(&mut self, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        let name = self.create(Some(call), spec)?;
        if let Err(error) = self.start(&name) {
            self.containers.remove(&name);
            return Err(error);
        }
        self.inspect(&ContainerRef::new(name))
    }

    pub(crate) fn rename(&mut self, request: &RenameContainer) -> Result<Container, EffectError> {
        let name = self.name_of(&request.container)?;
        check_name(&request.name)?;
        if name == request.name {
            return self.inspect(&request.container);
        }
        if self.containers.get(&request.name).is_some() {
            return Err(container_name_taken(&request.name));
        }
        let restarts = |container: &SimContainer| container.state == ContainerState::Restarting;
        if self.containers.get(&name).is_some_and(restarts) {
            return Err(container_restarting(&name));
        }
        if let Some(mut container) = self.containers.remove(&name) {
            container.spec.name.clone_from(&request.name);
            self.containers.insert(container);
        }
        self.inspect(&ContainerRef::new(request.name.clone()))
    }
}

/// Checks Docker's rule for names: letters, digits, `_`, `.` and `-`, at least two characters, starting with a letter
/// or digit.
fn check_name(name: &str) -> Result<(), EffectError> {
    let fits = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fits {
        return Ok(());
    }
    Err(name_not_valid("container", name))
}
