//! `docker_run` and `docker_create`.

use serde::{Deserialize, Serialize};

use super::view::prior_container;
use super::{Container, ContainerOutcome, ContainerSpec, ContainerState, InspectContainer, RemoveContainer};
use crate::base::labels;
use crate::effect::{Access, Effect, Facts, Outcome, Request, Trace, Undo, Verdict};

/// `docker_run`: creates and starts a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunContainer(pub ContainerSpec);

/// `docker_create`: creates a container and leaves it stopped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateContainer(pub ContainerSpec);

fn remove_again(name: &str) -> Undo {
    Undo::by(RemoveContainer {
        container: name.into(),
        force: true,
        volumes: true,
        missing_ok: true,
        disposable: true,
        only_own: true,
    })
}

fn look(name: &str) -> Option<Effect> {
    Some(InspectContainer { container: name.into(), missing_ok: true }.into())
}

/// The container of that name, if this very effect made it.
fn made<'a>(trace: Trace<'_>, evidence: &'a Outcome) -> Option<&'a Container> {
    prior_container(Some(evidence))
        .filter(|container| container.labels.get(labels::EFFECT).is_some_and(|id| id == trace.effect_id))
}

impl Facts for RunContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        remove_again(&self.0.name)
    }

    fn evidence(&self) -> Option<Effect> {
        look(&self.0.name)
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        match made(trace, evidence) {
            None => Verdict::Not,
            Some(container) if container.state == ContainerState::Created => Verdict::Partly,
            Some(container) => Verdict::happened(Outcome::Container(ContainerOutcome::Run(container.clone()))),
        }
    }

    fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    fn subject(&self) -> String {
        format!("{} ({})", self.0.name, self.0.image)
    }
}

impl Request for RunContainer {
    const KIND: &'static str = "docker_run";
    type Reply = Container;
}

impl Facts for CreateContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        remove_again(&self.0.name)
    }

    fn evidence(&self) -> Option<Effect> {
        look(&self.0.name)
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        made(trace, evidence).map_or(Verdict::Not, |container| {
            Verdict::happened(Outcome::Container(ContainerOutcome::Create(container.clone())))
        })
    }

    fn service(&self) -> Option<&str> {
        self.0.service.as_deref()
    }

    fn subject(&self) -> String {
        format!("{} ({})", self.0.name, self.0.image)
    }
}

impl Request for CreateContainer {
    const KIND: &'static str = "docker_create";
    type Reply = Container;
}
