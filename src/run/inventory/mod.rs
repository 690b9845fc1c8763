//! What is on an engine, and what of it deployer created: the basis of `status` and `gc`. Only reads from the engine.
//! Knows no journal; the caller passes the unfinished runs.

pub mod garbage;
pub mod service_status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::base::labels;
use crate::base::run_id::RunId;
use crate::base::seq::Branch;
use crate::base::vault::Vault;
use crate::effect::container::{Container, ListContainers};
use crate::effect::image::{Image, ListImages};
use crate::effect::lock::{HeldLock, ListLocks};
use crate::effect::network::{ListNetworks, Network};
use crate::effect::traffic::{ListRoutes, ListedRoute, RouteView};
use crate::effect::volume::{ListVolumes, Volume};
use crate::effect::{EffectError, ErrorKind, Request};
use crate::world::{Call, World};

/// Everything on one engine, created by deployer or not.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// All containers, running or not.
    pub containers: Vec<Container>,
    /// All images, the newest first.
    pub images: Vec<Image>,
    /// All volumes.
    pub volumes: Vec<Volume>,
    /// All networks.
    pub networks: Vec<Network>,
    /// All locks.
    pub locks: Vec<HeldLock>,
    /// All routes.
    pub routes: Vec<ListedRoute>,
    /// The effect label of the image of each container, by the image's id.
    inherited: BTreeMap<String, Option<String>>,
}

/// A run that the journal of this machine shows as unfinished or stuck.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnfinishedRun {
    /// The run's id.
    pub run: RunId,
    /// The service that it deploys.
    pub service: Option<String>,
    /// Why it is unfinished.
    pub state: UnfinishedState,
    /// Arguments that select its journal; empty for the default one.
    #[serde(skip)]
    pub state_flags: String,
}

/// Why a run is unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnfinishedState {
    /// Its process is alive, or may be.
    UnderWay,
    /// It has not ended and has no process any more.
    Killed,
    /// It could not be rolled back.
    Stuck,
}

impl UnfinishedRun {
    /// Returns what the operator must do about it; `None` while it is under way.
    pub fn what_to_do(&self) -> Option<String> {
        let id = format!("{} {}", self.run, self.state_flags);
        let (run, id) = (&self.run, id.trim_end());
        match self.state {
            UnfinishedState::UnderWay => None,
            UnfinishedState::Killed => {
                Some(format!("run {run} was interrupted: `deployer resume {id}` or `deployer abort {id}`"))
            }
            UnfinishedState::Stuck => Some(format!(
                "run {run} is stuck: `deployer show {id}` lists what is left to do; then `deployer resolve {id}`"
            )),
        }
    }
}

impl Inventory {
    /// Reads everything from the engine.
    ///
    /// # Errors
    /// Returns the error of the engine.
    pub async fn take(world: &dyn World) -> Result<Self, EffectError> {
        // Concurrently: a busy engine takes long for each answer.
        let (containers, images, volumes, networks, routes) = tokio::try_join!(
            containers(world),
            ask(world, ListImages::default()),
            ask(world, ListVolumes::default()),
            ask(world, ListNetworks::default()),
            ask(world, ListRoutes::default()),
        )?;
        // Locks are read last: a run whose unfinished work is listed above still holds its lock.
        let locks = ask(world, ListLocks::default()).await?;
        let mut inherited: BTreeMap<String, Option<String>> =
            images.iter().map(|image| (image.id.clone(), image.labels.get(labels::EFFECT).cloned())).collect();
        for container in &containers {
            if inherited.contains_key(&container.image_id) || container.image_id.is_empty() {
                continue;
            }
            // An image that lost its last name is not always listed.
            let by_id = ListImages { name: Some(container.image_id.clone()), ..Default::default() };
            if let Some(image) = ask(world, by_id).await?.into_iter().next() {
                inherited.insert(container.image_id.clone(), image.labels.get(labels::EFFECT).cloned());
            }
        }
        Ok(Self { containers, images, volumes, networks, locks, routes, inherited })
    }

    /// Returns the containers that deployer created, with their services. A container that was started by hand from an
    /// image of deployer inherits the image's labels, its effect label included, and is left out.
    pub fn own_containers(&self) -> impl Iterator<Item = (&Container, &str)> {
        self.containers.iter().filter_map(|container| {
            let effect = container.labels.get(labels::EFFECT)?;
            let from_image = self.inherited.get(&container.image_id)?;
            if from_image.as_ref() == Some(effect) {
                return None;
            }
            Some((container, container.labels.get(labels::SERVICE)?.as_str()))
        })
    }

    /// Returns the lock of the service.
    pub fn lock_of(&self, service: &str) -> Option<&HeldLock> {
        self.locks.iter().find(|lock| lock.service == service)
    }

    /// Returns the route of the service.
    pub fn route_of(&self, service: &str) -> Option<&ListedRoute> {
        self.routes.iter().find(|route| route.service == service)
    }

    /// Returns the route of the service as its driver reports it.
    pub fn view_of(&self, service: &str) -> Option<&RouteView> {
        self.route_of(service)?.view.as_ref()
    }

    /// Returns whether a run may be changing the service right now.
    pub fn is_being_deployed(&self, service: &str, open: &[UnfinishedRun]) -> bool {
        let locked = self.lock_of(service).is_some_and(|lock| !lock.is_dead());
        locked
            || open.iter().any(|run| run.state == UnfinishedState::UnderWay && run.service.as_deref() == Some(service))
    }

    /// Returns the image with this id.
    pub fn image(&self, id: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.id == id)
    }
}

/// Lists all containers of the engine, running or not.
///
/// # Errors
/// Returns the error of the engine.
pub async fn containers(world: &dyn World) -> Result<Vec<Container>, EffectError> {
    ask(world, ListContainers { all: true, ..Default::default() }).await
}

async fn ask<R: Request>(world: &dyn World, request: R) -> Result<R::Reply, EffectError> {
    let call = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
    let reply: Value = world.perform(&call, &request.into()).await?.value();
    serde_json::from_value(reply).map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()))
}
