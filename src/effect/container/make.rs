//! `docker_run` and `docker_create`.

use serde::{Deserialize, Serialize};

use super::Container;
use super::{ContainerSpec, RemoveContainer};
use crate::effect::{Access, Facts, Outcome, Request, Undo};

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

impl Facts for RunContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn undo(&self, _: Option<&Outcome>) -> Undo {
        remove_again(&self.0.name)
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
