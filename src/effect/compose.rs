//! Compose projects: up, stop, ps, config. Performed by the compose program of the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::category::category;
use super::container::Container;
use super::request::request;
use super::{Effect, EffectError, Outcome, TakesDown, Undo};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

/// How long `compose_up` may take by default: it may have to build.
pub const DEFAULT_UP_TIMEOUT: DurationText = DurationText::secs(10 * 60);

category! {
    /// Actions on compose projects.
    Compose: ComposeEffect => ComposeOutcome {
        Up(ComposeUp),
        Stop(ComposeStop),
        Ps(ComposePs),
        Config(ComposeConfig),
    }
}

/// The project that a compose request is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ComposeProject {
    /// The path of the compose file.
    pub file: String,
    /// Default: the name that compose derives from the file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Values for `${...}` in the file; they override those of its `.env`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
}

impl ComposeProject {
    /// Returns the error for a file that does not exist.
    pub fn not_found(&self) -> EffectError {
        EffectError::not_found(format!("compose file `{}` does not exist", self.file))
    }
}

/// Returns the read of the containers of some services of a project, or of all if `services` is empty.
fn list(project: &ComposeProject, services: &[String]) -> Effect {
    ComposePs { project: project.clone(), services: services.to_owned() }.into()
}

/// Returns the services, or the compose file if there are none.
fn subject(project: &ComposeProject, services: &[String]) -> String {
    if services.is_empty() { project.file.clone() } else { services.join(", ") }
}

/// `compose_up`: creates and starts services, in the background.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeUp {
    /// The project.
    #[serde(flatten)]
    pub project: ComposeProject,
    /// Default: all services of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Builds their images first.
    #[serde(default)]
    pub build: bool,
    /// Recreates their containers even if nothing has changed.
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

request! {
    ComposeUp {
        kind: "compose_up",
        // The containers of these services afterwards.
        reply: Vec<Container>,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        subject: |up| subject(&up.project, &up.services),
        prior: |up| Some(list(&up.project, &up.services)),
        undo: Self::undo_from,
        // It recreates containers whose configuration has changed, those of dependencies too.
        takes_down: |up| {
            let services: &[String] = if up.no_deps { &up.services } else { &[] };
            TakesDown::Listed(Box::new(list(&up.project, services)))
        },
    }
}

impl ComposeUp {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        match prior {
            Some(Outcome::Compose(ComposeOutcome::Ps(containers))) if containers.is_empty() => {
                Undo::by(ComposeStop { project: self.project.clone(), services: self.services.clone(), remove: true })
            }
            _ => Undo::Nothing,
        }
    }
}

/// `compose_stop`: stops services, and removes their containers if `remove` is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeStop {
    /// The project.
    #[serde(flatten)]
    pub project: ComposeProject,
    /// Default: all services of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Removes their containers too.
    #[serde(default)]
    pub remove: bool,
}

request! {
    ComposeStop {
        kind: "compose_stop",
        reply: (),
        access: Write,
        recovery: Repeat,
        subject: |stop| subject(&stop.project, &stop.services),
        prior: |stop| Some(list(&stop.project, &stop.services)),
        undo: Self::undo_from,
        takes_down: |stop| TakesDown::Listed(Box::new(list(&stop.project, &stop.services))),
    }
}

impl ComposeStop {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
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
}

/// `compose_ps`: lists the project's containers, stopped ones too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposePs {
    /// The project.
    #[serde(flatten)]
    pub project: ComposeProject,
    /// Default: all services of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

request! {
    ComposePs {
        kind: "compose_ps",
        reply: Vec<Container>,
        access: Read,
        subject: |list| list.project.file.clone(),
    }
}

/// `compose_config`: reads the file as compose understands it, without environment values, which may be secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComposeConfig {
    /// The project.
    #[serde(flatten)]
    pub project: ComposeProject,
}

request! {
    ComposeConfig {
        kind: "compose_config",
        reply: Value,
        access: Read,
        subject: |config| config.project.file.clone(),
    }
}
