//! `docker_remove` and `docker_rename`.

use serde::{Deserialize, Serialize};

use super::view::prior_container;
use super::{Container, ContainerEffect, ContainerOutcome, InspectContainer};
use crate::base::container_ref::ContainerRef;
use crate::base::labels;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, TakesDown, Trace, Undo, Verdict};

/// `docker_remove`: removes a container and its anonymous volumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoveContainer {
    pub container: ContainerRef,
    /// Kills a running one first.
    #[serde(default)]
    pub force: bool,
    /// Removes its anonymous volumes too; named ones always stay. Default true.
    #[serde(default = "yes")]
    pub volumes: bool,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default)]
    pub disposable: bool,
    /// Removes it only if this very run created it; what the undo of `docker_run` asks for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_own: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
pub(super) fn is_false(truth: &bool) -> bool {
    !truth
}

impl Facts for RemoveContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        // Once it is gone, the same request would find nothing to remove.
        if self.missing_ok { Recovery::Repeat } else { Recovery::Observe }
    }

    fn evidence(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        match prior_container(Some(evidence)) {
            Some(_) => Verdict::Not,
            None => Verdict::happened(Outcome::Container(ContainerOutcome::Remove(Removed { removed: true }))),
        }
    }

    fn prior(&self) -> Option<Effect> {
        (!self.disposable).then(|| InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if self.disposable {
            return Undo::Nothing;
        }
        prior_container(prior).map_or(Undo::Nothing, |container| Undo::ImpossibleUnlessOwn {
            maker: container.labels.get(labels::RUN).cloned(),
            why: format!(
                "container `{}` was removed and its own files with it; start a new one: docker run -d --name {} {}",
                container.name, container.name, container.image
            ),
        })
    }

    fn takes_down(&self) -> TakesDown {
        TakesDown::Container(self.container.clone())
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for RemoveContainer {
    const KIND: &'static str = "docker_remove";
    type Reply = Removed;
}

/// Whether there was anything to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub removed: bool,
}

/// `docker_rename`: gives a container another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenameContainer {
    pub container: ContainerRef,
    pub name: String,
}

impl Facts for RenameContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        prior_container(prior).map_or(Undo::Nothing, |container| {
            // The id stays right whatever it is called by then; people know it by the name that it has until then.
            let renamed = ContainerRef { key: container.id.clone(), name: Some(self.name.clone()) };
            Undo::by(Self { container: renamed, name: container.name.clone() })
        })
    }

    fn evidence(&self) -> Option<Effect> {
        Some(InspectContainer { container: ContainerRef::new(self.name.clone()), missing_ok: true }.into())
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        // Its undo knows it by the id, which no renaming changes.
        let id = match trace.undo {
            Some(Effect::Container(ContainerEffect::Rename(undo))) => &undo.container.key,
            _ => return Verdict::Not,
        };
        match prior_container(Some(evidence)) {
            Some(container) if container.id == *id => {
                Verdict::happened(Outcome::Container(ContainerOutcome::Rename(container.clone())))
            }
            _ => Verdict::Not,
        }
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.container, self.name)
    }
}

impl Request for RenameContainer {
    const KIND: &'static str = "docker_rename";
    type Reply = Container;
}
