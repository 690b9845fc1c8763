//! `docker_run` and `docker_create`.

use serde::{Deserialize, Serialize};

use super::{Container, ContainerOutcome, ContainerSpec, ContainerState, RemoveContainer, inspect, inspected};
use crate::base::labels;
use crate::effect::request::request;
use crate::effect::{Observation, Outcome, PendingEffect, Undo};

/// `docker_run`: creates and starts a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunContainer(pub ContainerSpec);

/// `docker_create`: creates a container without starting it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateContainer(pub ContainerSpec);

request! {
    RunContainer {
        kind: "docker_run",
        reply: Container,
        access: Write,
        subject: |run| format!("{} ({})", run.0.name, run.0.image),
        service: |run| run.0.service.as_deref(),
        undo: |run, _| remove_created(&run.0.name),
        evidence: |run| Some(inspect(&run.0.name.as_str().into())),
        observe: Self::observe_from,
    }
}

impl RunContainer {
    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match created_by(pending, evidence) {
            None => Observation::NotDone,
            Some(container) if container.state == ContainerState::Created => Observation::Partial,
            Some(container) => Observation::done(Outcome::Container(ContainerOutcome::Run(container.clone()))),
        }
    }
}

request! {
    CreateContainer {
        kind: "docker_create",
        reply: Container,
        access: Write,
        subject: |create| format!("{} ({})", create.0.name, create.0.image),
        service: |create| create.0.service.as_deref(),
        undo: |create, _| remove_created(&create.0.name),
        evidence: |create| Some(inspect(&create.0.name.as_str().into())),
        observe: Self::observe_from,
    }
}

impl CreateContainer {
    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        created_by(pending, evidence).map_or(Observation::NotDone, |container| {
            Observation::done(Outcome::Container(ContainerOutcome::Create(container.clone())))
        })
    }
}

/// Removes the container of that name, if this run created it.
fn remove_created(name: &str) -> Undo {
    Undo::by(RemoveContainer {
        container: name.into(),
        force: true,
        volumes: true,
        missing_ok: true,
        disposable: true,
        only_own: true,
    })
}

/// Returns the inspected container, if this very effect created it.
fn created_by<'a>(pending: PendingEffect<'_>, evidence: &'a Outcome) -> Option<&'a Container> {
    inspected(Some(evidence))
        .filter(|container| container.labels.get(labels::EFFECT).is_some_and(|id| id == pending.effect_id))
}
