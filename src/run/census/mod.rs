//! What an engine holds, and what of it is deployer's: the truth that `status` and `gc` tell. Asks the engine by reads
//! alone; knows no journal, only what its caller says of unfinished runs.

pub mod garbage;
pub mod standing;
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
use crate::effect::traffic::{ListRoutes, Listed, RouteView};
use crate::effect::volume::{ListVolumes, Volume};
use crate::effect::{EffectError, ErrorKind, Request};
use crate::world::{Call, World};

/// Everything on one engine, deployer's or not.
#[derive(Clone, Debug, Default)]
pub struct Census {
    pub containers: Vec<Container>,
    /// Newest first.
    pub images: Vec<Image>,
    pub volumes: Vec<Volume>,
    pub networks: Vec<Network>,
    pub locks: Vec<HeldLock>,
    pub routes: Vec<Listed>,
    /// The label of its effect that the image of a container carries, by the image's id.
    inherited: BTreeMap<String, Option<String>>,
}

/// A run that the journal of this machine knows to have no good end.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OpenRun {
    pub run: RunId,
    pub service: Option<String>,
    pub state: Openness,
    /// Arguments that lead to its journal; empty for the default one.
    #[serde(skip)]
    pub state_flags: String,
}

/// Why a run is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Openness {
    /// Its process lives, or may live.
    UnderWay,
    /// It has no end and no process.
    Killed,
    /// It could not be taken back.
    Stuck,
}

impl OpenRun {
    /// What a person must do about it; nothing while it is under way.
    pub fn what_to_do(&self) -> Option<String> {
        let id = format!("{} {}", self.run, self.state_flags);
        let (run, id) = (&self.run, id.trim_end());
        match self.state {
            Openness::UnderWay => None,
            Openness::Killed => Some(format!("run {run} was killed: `deployer resume {id}` or `deployer abort {id}`")),
            Openness::Stuck => Some(format!(
                "run {run} is stuck: `deployer show {id}` says what is left to do; then `deployer resolve {id}`"
            )),
        }
    }
}

impl Census {
    /// Asks the engine for everything.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn take(world: &dyn World) -> Result<Self, EffectError> {
        // At once: on a busy engine each answer takes its time.
        let (containers, images, volumes, networks, routes) = tokio::try_join!(
            containers(world),
            ask(world, ListImages::default()),
            ask(world, ListVolumes::default()),
            ask(world, ListNetworks::default()),
            ask(world, ListRoutes::default()),
        )?;
        // Last of all: whose things are seen above, and are under way, has its lock still.
        let locks = ask(world, ListLocks::default()).await?;
        let mut inherited: BTreeMap<String, Option<String>> =
            images.iter().map(|image| (image.id.clone(), image.labels.get(labels::EFFECT).cloned())).collect();
        for container in &containers {
            if inherited.contains_key(&container.image_id) || container.image_id.is_empty() {
                continue;
            }
            // An image that lost its last name is not always listed.
            let wanted = ListImages { name: Some(container.image_id.clone()), ..Default::default() };
            if let Some(image) = ask(world, wanted).await?.into_iter().next() {
                inherited.insert(container.image_id.clone(), image.labels.get(labels::EFFECT).cloned());
            }
        }
        Ok(Self { containers, images, volumes, networks, locks, routes, inherited })
    }

    /// The containers that deployer made for a service. What somebody starts by hand from an image of deployer's
    /// carries the image's labels: its label of an effect is then the image's and not one of its own.
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

    pub fn lock_of(&self, service: &str) -> Option<&HeldLock> {
        self.locks.iter().find(|lock| lock.service == service)
    }

    pub fn route_of(&self, service: &str) -> Option<&Listed> {
        self.routes.iter().find(|route| route.service == service)
    }

    /// The route of the service, as its driver has it.
    pub fn view_of(&self, service: &str) -> Option<&RouteView> {
        self.route_of(service)?.view.as_ref()
    }

    /// Whether a run may be doing something to the service right now.
    pub fn at_work(&self, service: &str, open: &[OpenRun]) -> bool {
        let locked = self.lock_of(service).is_some_and(|lock| !lock.is_dead());
        locked || open.iter().any(|run| run.state == Openness::UnderWay && run.service.as_deref() == Some(service))
    }

    pub fn image(&self, id: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.id == id)
    }
}

/// All containers of the engine, whatever their state.
///
/// # Errors
/// What the engine says.
pub async fn containers(world: &dyn World) -> Result<Vec<Container>, EffectError> {
    ask(world, ListContainers { all: true, ..Default::default() }).await
}

async fn ask<R: Request>(world: &dyn World, request: R) -> Result<R::Reply, EffectError> {
    let nobody = Call::silent(RunId::from_bytes([0; 10]), Branch::root().next(), Arc::new(Vault::empty()));
    let reply: Value = world.perform(&nobody, &request.into()).await?.value();
    serde_json::from_value(reply).map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()))
}
