//! Compose projects of a scenario: services and the containers that they become. Knows no compose file format.
//!
//! Faults: no such file, a file that compose refuses, no such service, an image that cannot be had, a build that
//! fails, a taken port or name, compose not installed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::behaviour::Behaviour;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::{ComposeEffect, ComposeOutcome, ComposeProject, ComposeStop, ComposeUp};
use crate::effect::container::{Container, ContainerSpec};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The labels that compose itself writes.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
/// Compose's default grace of a stop.
const STOP_GRACE_MS: u64 = 10_000;

/// What a compose file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// The name that compose derives from the file's folder.
    pub name: String,
    pub services: BTreeMap<String, Service>,
    /// Compose's complaint when it cannot read the file.
    pub refused: Option<String>,
}

/// One service: the container's shape, its name left out, and what else compose knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub container: ContainerSpec,
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// The folder that the image is built from.
    #[serde(default)]
    pub build: Option<String>,
    /// In place of the image's own.
    #[serde(default)]
    pub behaviour: Option<Arc<Behaviour>>,
}

impl Project {
    /// What `compose_config` tells of a real file. Environment values are not told, and left out.
    fn told(config: &Value) -> Self {
        let services = config.get("services").and_then(Value::as_object).into_iter().flatten();
        let service = |(name, told): (&String, &Value)| {
            let list = |key: &str| {
                let texts = told.get(key).and_then(Value::as_array).into_iter().flatten();
                texts.filter_map(Value::as_str).map(|text| json!(text)).collect::<Vec<_>>()
            };
            let text = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
            let spec = json!({
                "name": text("container_name"),
                "image": text("image"),
                "restart": told.get("restart").and_then(Value::as_str).unwrap_or("no"),
            });
            let mut container: ContainerSpec = serde_json::from_value(spec).ok()?;
            container.ports = list("ports").into_iter().filter_map(|text| serde_json::from_value(text).ok()).collect();
            container.volumes =
                list("volumes").into_iter().filter_map(|text| serde_json::from_value(text).ok()).collect();
            let build =
                told.get("build").map(|build| match build.get("context").or(Some(build)).and_then(Value::as_str) {
                    Some(folder) => folder.to_owned(),
                    None => ".".to_owned(),
                });
            let depends_on = match told.get("depends_on") {
                Some(Value::Object(map)) => map.keys().cloned().collect(),
                Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            Some((name.clone(), Service { container, depends_on, build, behaviour: None }))
        };
        Self {
            name: config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            services: services.filter_map(service).collect(),
            refused: None,
        }
    }
}

impl SimHost {
    /// Takes a real compose file in.
    pub(super) fn learn_project(&mut self, file: &str, config: &Value) {
        let project = Project::told(config);
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
                ComposeOutcome::Ps(self.placed(&project, &services))
            }
            ComposeEffect::Config(request) => ComposeOutcome::Config(config(&self.project(call, &request.project)?)),
        })
    }

    fn project(&self, call: &Call, wanted: &ComposeProject) -> Result<Project, EffectError> {
        for text in wanted.environment.values() {
            call.vault.reveal(text)?;
        }
        let mut project = self.projects.get(&wanted.file).cloned().ok_or_else(|| {
            EffectError::new(ErrorKind::NotFound, format!("compose file `{}` does not exist", wanted.file))
                .not_applied()
        })?;
        if let Some(why) = &project.refused {
            return Err(failed(why.clone()).not_applied());
        }
        if let Some(name) = &wanted.project {
            project.name.clone_from(name);
        }
        Ok(project)
    }

    /// The service's container, as compose names it unless the file does.
    fn name_in(project: &Project, service: &str) -> String {
        match project.services.get(service).map(|service| &service.container.name) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("{}_{service}_1", project.name),
        }
    }

    fn placed(&self, project: &Project, services: &[String]) -> Vec<Container> {
        let of_project = |labels: &BTreeMap<String, String>| {
            labels.get(PROJECT) == Some(&project.name)
                && labels.get(SERVICE).is_some_and(|service| services.contains(service))
        };
        let found = self.containers.all().filter(|container| of_project(&container.labels));
        found.map(|container| self.view(container)).collect()
    }

    /// The containers of these services that there are.
    pub(super) fn of_services(
        &self,
        call: &Call,
        project: &ComposeProject,
        services: &[String],
    ) -> Result<Vec<Container>, EffectError> {
        let project = self.project(call, project)?;
        Ok(self.placed(&project, &chosen(&project, services)?))
    }

    fn up(&mut self, call: &Call, request: &ComposeUp) -> Result<Vec<Container>, EffectError> {
        let project = self.project(call, &request.project)?;
        let asked = chosen(&project, &request.services)?;
        let order = if request.no_deps { asked.clone() } else { with_dependencies(&project, &asked)? };
        let deadline = self.now() + whole_ms(request.timeout.0);
        for name in &order {
            self.up_service(&project, name, request, asked.contains(name))?;
            if self.now() > deadline {
                let message = format!("compose took longer than {}", request.timeout);
                return Err(EffectError::new(ErrorKind::Timeout, message));
            }
        }
        Ok(self.placed(&project, &asked))
    }

    fn up_service(
        &mut self,
        project: &Project,
        name: &str,
        request: &ComposeUp,
        asked: bool,
    ) -> Result<(), EffectError> {
        let Some(service) = project.services.get(name) else { return Ok(()) };
        self.provide(service, request.build)?;
        let container_name = Self::name_in(project, name);
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
                self.networks.0.insert(network.clone(), (id, super::networks::SimNetwork::default()));
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

    /// Builds or pulls the service's image where that is needed.
    fn provide(&mut self, service: &Service, build: bool) -> Result<(), EffectError> {
        let name = &service.container.image;
        let present = self.images.find(name).is_some();
        let image = match &service.build {
            Some(folder) if build || !present => {
                let recipe = self.images.recipe(folder);
                let recipe = recipe.ok_or_else(|| failed(format!("the folder `{folder}` does not exist")))?;
                self.pass(recipe.takes_ms);
                if let Some(why) = recipe.fails {
                    return Err(failed(why));
                }
                recipe.image
            }
            _ if present => return Ok(()),
            _ if self.images.registry_down => return Err(failed("the registry does not answer")),
            _ => {
                let offered = self.images.offered(&crate::effect::image::with_tag(name));
                offered.ok_or_else(|| failed(format!("image `{name}` cannot be pulled")))?
            }
        };
        self.machine.store(image.size_mb)?;
        let now = self.now();
        let image = super::images::SimImage { names: vec![name.clone()], ..image };
        self.images.add(&mut self.ids, &image, now);
        Ok(())
    }

    fn compose_stop(&mut self, call: &Call, request: &ComposeStop) -> Result<(), EffectError> {
        let project = self.project(call, &request.project)?;
        let services = chosen(&project, &request.services)?;
        for container in self.placed(&project, &services) {
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

fn failed(why: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Failed, "compose failed").detail(why)
}

fn chosen(project: &Project, services: &[String]) -> Result<Vec<String>, EffectError> {
    if let Some(unknown) = services.iter().find(|service| !project.services.contains_key(*service)) {
        return Err(failed(format!("no such service: {unknown}")).not_applied());
    }
    Ok(if services.is_empty() { project.services.keys().cloned().collect() } else { services.to_vec() })
}

/// The services with all that they depend on, those first.
fn with_dependencies(project: &Project, services: &[String]) -> Result<Vec<String>, EffectError> {
    fn visit(
        project: &Project,
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

fn config(project: &Project) -> Value {
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
