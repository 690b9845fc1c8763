//! `docker_remove` and `docker_rename`.

use serde::{Deserialize, Serialize};

use super::{Container, ContainerEffect, ContainerOutcome, inspect, inspected};
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::request::request;
use crate::effect::{Effect, Observation, Outcome, PendingEffect, Recovery, TakesDown, Undo};

/// `docker_remove`: removes a container and its anonymous volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveContainer {
    /// The container.
    pub container: ContainerRef,
    /// Kills it first if it is running.
    #[serde(default)]
    pub force: bool,
    /// Removes its anonymous volumes too; named ones are always kept. Default true.
    #[serde(default = "yes")]
    pub volumes: bool,
    /// Succeeds if the container does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that it is not needed any more: the run can be rolled back without it.
    #[serde(default)]
    pub disposable: bool,
    /// Removes it only if this very run created it. Used by the undo of `docker_run`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_own: bool,
}

fn yes() -> bool {
    true
}

request! {
    RemoveContainer {
        kind: "docker_remove",
        reply: Removed,
        access: Write,
        // Once it is gone, the same request would fail: there is nothing to remove.
        recovery: |remove| if remove.missing_ok { Recovery::Repeat } else { Recovery::Observe },
        subject: container,
        prior: |remove| (!remove.disposable).then(|| inspect(&remove.container)),
        undo: Self::undo_from,
        evidence: |remove| Some(inspect(&remove.container)),
        observe: Self::observe_from,
        takes_down: |remove| TakesDown::Container(remove.container.clone()),
    }
}

impl RemoveContainer {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        if self.disposable {
            return Undo::Nothing;
        }
        inspected(prior).map_or(Undo::Nothing, |container| Undo::ImpossibleUnlessOwn {
            maker: container.labels.get(labels::RUN).cloned(),
            why: format!(
                "container `{}` was removed and its own files with it; start a new one: docker run -d --name {} {}",
                container.name, container.name, container.image
            ),
        })
    }

    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        match inspected(Some(evidence)) {
            Some(_) => Observation::NotDone,
            None => Observation::done(Outcome::Container(ContainerOutcome::Remove(Removed { removed: true }))),
        }
    }
}

/// The result of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether there was anything to remove.
    pub removed: bool,
}

/// `docker_rename`: renames a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenameContainer {
    /// The container.
    pub container: ContainerRef,
    /// The new name.
    pub name: String,
}

request! {
    RenameContainer {
        kind: "docker_rename",
        reply: Container,
        access: Write,
        subject: |rename| format!("{} -> {}", rename.container, rename.name),
        prior: |rename| Some(inspect(&rename.container)),
        undo: Self::undo_from,
        evidence: |rename| Some(inspect(&ContainerRef::new(rename.name.clone()))),
        observe: Self::observe_from,
    }
}

impl RenameContainer {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        inspected(prior).map_or(Undo::Nothing, |container| {
            // The id survives every renaming; people know the container by the name that it has until then.
            let renamed = ContainerRef { key: container.id.clone(), name: Some(self.name.clone()) };
            Undo::by(Self { container: renamed, name: container.name.clone() })
        })
    }

    fn observe_from(&self, pending: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        // The undo identifies the container by its id, which no renaming changes.
        let id = match pending.undo {
            Some(Effect::Container(ContainerEffect::Rename(undo))) => &undo.container.key,
            _ => return Observation::NotDone,
        };
        match inspected(Some(evidence)) {
            Some(container) if container.id == *id => {
                Observation::done(Outcome::Container(ContainerOutcome::Rename(container.clone())))
            }
            _ => Observation::NotDone,
        }
    }
}
