//! Compose projects: up, stop, ps, config. Performed by the compose program that the machine has.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::container::Container;
use super::facts::GRACE;
use super::family::family;
use super::{Access, Effect, Facts, Outcome, Recovery, Request, TakesDown, Undo};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// `up` may have to build.
pub const DEFAULT_UP_TIMEOUT: DurationText = DurationText::secs(10 * 60);

family! {
    /// What can be asked of a compose project.
    Compose: ComposeEffect => ComposeOutcome {
        Up(ComposeUp),
        Stop(ComposeStop),
        Ps(ComposePs),
        Config(ComposeConfig),
    }
}

/// Which project: the same in every compose request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComposeProject {
    /// Path of the compose file.
    pub file: String,
    /// Default: the name that compose derives from the file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Values for `${...}` in the file, over those of its `.env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
}

/// `compose_up`: creates and starts services, in the background.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeUp {
    #[serde(flatten)]
    pub project: ComposeProject,
    /// Default: all of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(default)]
    pub build: bool,
    #[serde(default)]
    pub force_recreate: bool,
    /// Leaves the services that these depend on as they are.
    #[serde(default)]
    pub no_deps: bool,
    /// Default 10 min.
    #[serde(default = "default_up_timeout")]
    pub timeout: DurationText,
}

fn default_up_timeout() -> DurationText {
    DEFAULT_UP_TIMEOUT
}

impl Facts for ComposeUp {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn prior(&self) -> Option<Effect> {
        Some(ComposePs { project: self.project.clone(), services: self.services.clone() }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Compose(ComposeOutcome::Ps(containers))) if containers.is_empty() => {
                Undo::by(ComposeStop { project: self.project.clone(), services: self.services.clone(), remove: true })
            }
            _ => Undo::Nothing,
        }
    }

    fn takes_down(&self) -> TakesDown {
        // It makes those anew whose configuration has changed, and what they depend on too.
        let services = if self.no_deps { self.services.clone() } else { Vec::new() };
        TakesDown::Compose(Box::new(ComposePs { project: self.project.clone(), services }))
    }

    fn subject(&self) -> String {
        if self.services.is_empty() { self.project.file.clone() } else { self.services.join(", ") }
    }
}

impl Request for ComposeUp {
    const KIND: &'static str = "compose_up";
    /// The containers of these services after it.
    type Reply = Vec<Container>;
}

/// `compose_stop`: stops services, and removes their containers when `remove` says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeStop {
    #[serde(flatten)]
    pub project: ComposeProject,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(default)]
    pub remove: bool,
}

impl Facts for ComposeStop {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(ComposePs { project: self.project.clone(), services: self.services.clone() }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Compose(ComposeOutcome::Ps(containers))) if containers.iter().any(Container::is_running) => {
                Undo::by(ComposeUp {
                    project: self.project.clone(),
                    services: self.services.clone(),
                    build: false,
                    force_recreate: false,
                    no_deps: true,
                    timeout: DEFAULT_UP_TIMEOUT,
                })
            }
            _ => Undo::Nothing,
        }
    }

    fn takes_down(&self) -> TakesDown {
        let services = self.services.clone();
        TakesDown::Compose(Box::new(ComposePs { project: self.project.clone(), services }))
    }

    fn subject(&self) -> String {
        if self.services.is_empty() { self.project.file.clone() } else { self.services.join(", ") }
    }
}

impl Request for ComposeStop {
    const KIND: &'static str = "compose_stop";
    type Reply = ();
}

/// `compose_ps`: the project's containers, stopped ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposePs {
    #[serde(flatten)]
    pub project: ComposeProject,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

impl Facts for ComposePs {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.project.file.clone()
    }
}

impl Request for ComposePs {
    const KIND: &'static str = "compose_ps";
    type Reply = Vec<Container>;
}

/// `compose_config`: the file as compose understands it, less environment values (they may be secrets).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeConfig {
    #[serde(flatten)]
    pub project: ComposeProject,
}

impl Facts for ComposeConfig {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.project.file.clone()
    }
}

impl Request for ComposeConfig {
    const KIND: &'static str = "compose_config";
    type Reply = Value;
}
