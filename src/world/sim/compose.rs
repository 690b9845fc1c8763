//! Effects on compose projects: services and their containers. Knows no compose file format.
//!
//! Faults: a missing or invalid file, an unknown service, an image that is not available, a build that fails, a taken
//! port or name, a timeout.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::model::compose::{SimProject, SimService};
use super::model::container::SimContainer;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::compose::{ComposeEffect, ComposeOutcome, ComposeProject, ComposeStop, ComposeUp, FormerContainer};
use crate::effect::container::{Container, ContainerSpec, ContainerState};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Labels that compose writes.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
/// Compose's default grace period.
const STOP_GRACE_MS: u64 = 10_000;

impl SimHost {
    /// Adds a project from the output of a real `compose_config`.
    pub(super) fn add_compose_project(&mut self, file: &str, config: &Value) {
        let project = SimProject::from_config(config);
        for service in project.services.values().filter(|service| service.build.is_some()) {
            self.images.builds.entry(service.build.clone().unwrap_or_default()).or_default();
        }
        self.projects.entry(file.to_owned()).or_insert(project);
    }

    pub(super) fn compose(&mut self, call: &Call, effect: &ComposeEffect) -> Result<ComposeOutcome, EffectError> {
        Ok(match effect {
            ComposeEffect::Up(request) => ComposeOutcome::Up(self.up(call, request)?),
            ComposeEffect::Stop(request) => ComposeOutcome::Stop(self.compose_stop(call, request)?),
            ComposeEffect::Ps(request) => {
                let project = self.project(call, &request.project)?;
                let services = chosen(&project, &request.services)?;
                ComposeOutcome::Ps(self.containers_of(&project, &services))
            }
            ComposeEffect::Config(request) => ComposeOutcome::Config(config(&self.project(call, &request.project)?)),
        })
    }

    fn project(&self, call: &Call, wanted: &ComposeProject) -> Result<SimProject, EffectError> {
        for text in wanted.environment.values() {
            call.vault.reveal(text)?;
        }
        let mut project = self.projects.get(&wanted.file).cloned().ok_or_else(|| wanted.not_found())?;
        if let Some(why) = &project.refused {
            return Err(failed(why.clone()).not_applied());
        }
        if let Some(name) = &wanted.project {
            project.name.clone_from(name);
        }
        Ok(project)
    }

    /// Returns the name of the service's container: the one in the file, or the one compose generates.
    fn container_name(project: &SimProject, service: &str) -> String {
        match project.services.get(service).map(|service| &service.container.name) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("{}_{service}_1", project.name),
        }
    }

    fn containers_of(&self, project: &SimProject, services: &[String]) -> Vec<Container> {
        let of_project = |labels: &BTreeMap<String, String>| {
            labels.get(PROJECT) == Some(&project.name)
                && labels.get(SERVICE).is_some_and(|service| services.contains(service))
        };
        let found = self.containers.all().filter(|container| of_project(&container.labels));
        found.map(|container| self.view(container)).collect()
    }

    /// Returns the existing containers of these services.
    pub(super) fn containers_of_services(
        &self,
        call: &Call,
        project: &ComposeProject,
        services: &[String],
    ) -> Result<Vec<Container>, EffectError> {
        let project = self.project(call, project)?;
        Ok(self.containers_of(&project, &chosen(&project, services)?))
    }

    fn up(&mut self, call: &Call, request: &ComposeUp) -> Result<Vec<Container>, EffectError> {
        let project = self.project(call, &request.project)?;
        let asked = chosen(&project, &request.services)?;
        if !request.back_to.is_empty() {
            return self.restore_former(&project, &chosen(&project, request.scope())?, &request.back_to);
        }
        let former = self.keep_former(call, &project, &chosen(&project, request.scope())?);
        let result = self.up_services(&project, request, &asked);
        self.remove_unused_copies(&former);
        result
    }

    fn up_services(
        &mut self,
        project: &SimProject,
        request: &ComposeUp,
        asked: &[String],
    ) -> Result<Vec<Container>, EffectError> {
        let order = if request.no_deps { asked.to_owned() } else { with_dependencies(project, asked)? };
        let deadline = self.now() + whole_ms(request.timeout.0);
        for name in &order {
            self.up_service(project, name, request, asked.contains(name))?;
            if self.now() > deadline {
                return Err(EffectError::timed_out(&"`docker compose up`", request.timeout));
            }
        }
        Ok(self.containers_of(project, asked))
    }

    /// Copies what `compose_up` may replace, and replaces nothing.
    pub(super) fn keep_replaced(&mut self, call: &Call, request: &ComposeUp) -> Result<(), EffectError> {
        let project = self.project(call, &request.project)?;
        let services = chosen(&project, request.scope())?;
        if request.back_to.is_empty() {
            self.keep_former(call, &project, &services);
        }
        Ok(())
    }

    /// Copies the containers of these services, and removes copies of earlier runs.
    fn keep_former(&mut self, call: &Call, project: &SimProject, services: &[String]) -> Vec<FormerContainer> {
        let former: Vec<FormerContainer> = self.containers_of(project, services).iter().map(Into::into).collect();
        for container in &former {
            let is_old = |copy: &SimContainer| {
                is_copy(copy, &container.name)
                    && copy.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str())
            };
            let old: Vec<String> =
                self.containers.all().filter(|copy| is_old(copy)).map(|copy| copy.name().to_owned()).collect();
            for name in old {
                self.containers.remove(&name);
            }
            if self.containers.get(&container.copy_name()).is_none() {
                let labels = container.copy_labels(&call.run);
                self.duplicate(&container.name, &container.copy_name(), labels);
            }
        }
        former
    }

    /// Creates a stopped container with the configuration of another one.
    fn duplicate(&mut self, model: &str, name: &str, labels: BTreeMap<String, String>) {
        let Some(model) = self.containers.get(model).cloned() else { return };
        let image_labels = self.images.find(&model.image_id).map(|image| image.labels.clone()).unwrap_or_default();
        let (id, number) = (self.ids.next(), self.ids.count());
        self.containers.insert(SimContainer {
            id,
            number,
            labels: image_labels.into_iter().chain(labels).collect(),
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
            spec: ContainerSpec { name: name.to_owned(), ..model.spec.clone() },
            ..model
        });
    }

    fn remove_unused_copies(&mut self, former: &[FormerContainer]) {
        for container in former {
            if self.containers.all().any(|existing| existing.id == container.id) {
                self.containers.remove(&container.copy_name());
            }
        }
    }

    fn restore_former(
        &mut self,
        project: &SimProject,
        services: &[String],
        back_to: &[FormerContainer],
    ) -> Result<Vec<Container>, EffectError> {
        for other in self.containers_of(project, services) {
            if !back_to.iter().any(|former| former.is(&other)) {
                self.containers.remove(&other.name);
            }
        }
        for former in back_to {
            let existing = self.containers.all().find(|container| former.is(&self.view(container)));
            let name = match existing.map(|container| container.name().to_owned()) {
                Some(name) => name,
                None if self.containers.get(&former.copy_name()).is_some() => {
                    self.duplicate(&former.copy_name(), &former.name, former.restored_labels());
                    former.name.clone()
                }
                None => return Err(failed(format!("the copy `{}` is gone", former.copy_name()))),
            };
            if former.running {
                self.start(&name).map_err(|why| failed(why.message))?;
            } else {
                self.stop(&name, STOP_GRACE_MS, false);
            }
            self.containers.remove(&former.copy_name());
        }
        Ok(self.containers_of(project, services))
    }

    fn up_service(
        &mut self,
        project: &SimProject,
        name: &str,
        request: &ComposeUp,
        asked: bool,
    ) -> Result<(), EffectError> {
        let Some(service) = project.services.get(name) else { return Ok(()) };
        self.ensure_image(service, request.build)?;
        let container_name = Self::container_name(project, name);
        let image_id = self.images.find(&service.container.image).map(|image| image.id.clone());
        if let Some(container) = self.containers.get(&container_name) {
            if container.labels.get(PROJECT) != Some(&project.name) {
                return Err(failed(format!("the name `{container_name}` is taken")));
            }
            let same =
                Some(&container.image_id) == image_id.as_ref() && container.spec.ports == service.container.ports;
            if same && !(request.force_recreate && asked) {
                return self.start(&container_name).map_err(|why| failed(why.message));
            }
            self.stop(&container_name, STOP_GRACE_MS, false);
            self.containers.remove(&container_name);
        }
        let mut spec = service.container.clone();
        spec.name = container_name;
        if spec.networks.is_empty() {
            let network = format!("{}_default", project.name);
            if !self.networks.contains(&network) {
                let id = self.ids.next();
                self.networks.0.insert(network.clone(), (id, super::model::network::SimNetwork::default()));
            }
            spec.networks = vec![network];
        }
        spec.labels.extend([(PROJECT.to_owned(), project.name.clone()), (SERVICE.to_owned(), name.to_owned())]);
        let created = self.create(None, &spec).map_err(|why| failed(why.message))?;
        if let (Some(behaviour), Some(container)) = (&service.behaviour, self.containers.get_mut(&created)) {
            container.behaviour = behaviour.clone();
        }
        self.start(&created).map_err(|why| failed(why.message))
    }

    /// Builds or pulls the service's image if needed.
    fn ensure_image(&mut self, service: &SimService, build: bool) -> Result<(), EffectError> {
        let name = &service.container.image;
        let present = self.images.find(name).is_some();
        let image = match &service.build {
            Some(folder) if build || !present => {
                let sim_build = self.images.build_for(folder);
                let sim_build = sim_build.ok_or_else(|| failed(format!("the folder `{folder}` does not exist")))?;
                self.advance(sim_build.takes_ms);
                if let Some(why) = sim_build.fails {
                    return Err(failed(why));
                }
                sim_build.image
            }
            _ if present => return Ok(()),
            _ if self.images.registry_down => return Err(failed("the registry does not answer")),
            _ => {
                let offered = self.images.registry_image(&crate::effect::image::with_tag(name));
                offered.ok_or_else(|| failed(format!("image `{name}` cannot be pulled")))?
            }
        };
        self.machine.use_disk(&format!("image `{name}`"), image.size_mb)?;
        let now = self.now();
        let image = super::model::image::SimImage { names: vec![name.clone()], ..image };
        self.images.add(&mut self.ids, &image, now);
        Ok(())
    }

    fn compose_stop(&mut self, call: &Call, request: &ComposeStop) -> Result<(), EffectError> {
        let project = self.project(call, &request.project)?;
        let services = chosen(&project, &request.services)?;
        if request.remove && !request.disposable {
            self.keep_former(call, &project, &services);
        }
        for container in self.containers_of(&project, &services) {
            if container.is_running() {
                self.stop(&container.name, STOP_GRACE_MS, false);
            }
            if request.remove {
                let found = self.containers.find(&ContainerRef::new(container.id)).map(|found| found.name().to_owned());
                found.and_then(|name| self.containers.remove(&name));
            }
        }
        Ok(())
    }
}

fn is_copy(container: &SimContainer, of: &str) -> bool {
    let has = |key: &str, value: &str| container.labels.get(key).is_some_and(|own| own == value);
    has(labels::ROLE, FormerContainer::COPY_ROLE) && has(labels::COPY_OF, of)
}

fn failed(why: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Failed, "compose failed").detail(why)
}

fn chosen(project: &SimProject, services: &[String]) -> Result<Vec<String>, EffectError> {
    if let Some(unknown) = services.iter().find(|service| !project.services.contains_key(*service)) {
        return Err(failed(format!("no such service: {unknown}")).not_applied());
    }
    Ok(if services.is_empty() { project.services.keys().cloned().collect() } else { services.to_vec() })
}

/// Returns the services with all their dependencies, dependencies first.
fn with_dependencies(project: &SimProject, services: &[String]) -> Result<Vec<String>, EffectError> {
    fn visit(
        project: &SimProject,
        name: &str,
        path: &mut Vec<String>,
        order: &mut Vec<String>,
    ) -> Result<(), EffectError> {
        if order.iter().any(|done| done == name) {
            return Ok(());
        }
        if path.iter().any(|above| above == name) {
            return Err(failed(format!("service `{name}` depends on itself")).not_applied());
        }
        path.push(name.to_owned());
        for dependency in project.services.get(name).map(|service| &service.depends_on).into_iter().flatten() {
            visit(project, dependency, path, order)?;
        }
        path.pop();
        order.push(name.to_owned());
        Ok(())
    }
    let mut order = Vec::new();
    services.iter().try_for_each(|service| visit(project, service, &mut Vec::new(), &mut order))?;
    Ok(order)
}

fn config(project: &SimProject) -> Value {
    let services: BTreeMap<&String, Value> = project
        .services
        .iter()
        .map(|(name, service)| {
            let spec = &service.container;
            let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
            let volumes: Vec<String> = spec.volumes.iter().map(ToString::to_string).collect();
            let environment: Vec<&String> = spec.environment.keys().collect();
            (name, json!({ "image": spec.image, "ports": ports, "volumes": volumes, "environment": environment }))
        })
        .collect();
    json!({ "name": project.name, "services": services })
}
