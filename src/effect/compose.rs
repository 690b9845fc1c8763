//! Compose projects: up, stop, ps, config. Performed by the compose program of the machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::category::category;
use super::container::Container;
use super::request::request;
use super::traffic::target_name;
use super::{Effect, EffectError, Outcome, TakesDown, Undo};
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::base::run_id::RunId;
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

/// A container that compose may replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it was running.
    pub running: bool,
    /// Its labels, those of compose too.
    pub labels: BTreeMap<String, String>,
}

impl FormerContainer {
    /// The value of [`labels::ROLE`] of a copy.
    pub const COPY_ROLE: &'static str = "compose-copy";

    /// Returns the name of the stopped copy that is made before compose replaces the container.
    pub fn copy_name(&self) -> String {
        format!("{}-before-{}", self.name, target_name(&self.id))
    }

    /// Returns the labels of the copy that this run makes. None of compose's: it would take the copy for its own.
    pub fn copy_labels(&self, run: &RunId) -> BTreeMap<String, String> {
        let labels = [
            (labels::ROLE, Self::COPY_ROLE.to_owned()),
            (labels::COPY_OF, self.name.clone()),
            (labels::RUN, run.to_string()),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Returns the labels of the container that takes its place again.
    pub fn restored_labels(&self) -> BTreeMap<String, String> {
        let mut all = self.labels.clone();
        all.insert(labels::COPY_OF.to_owned(), self.id.clone());
        all
    }

    /// Returns whether a container is this one, or has taken its place again.
    pub fn is(&self, container: &Container) -> bool {
        container.id == self.id
            || container.name == self.name && container.labels.get(labels::COPY_OF) == Some(&self.id)
    }
}

impl From<&Container> for FormerContainer {
    fn from(container: &Container) -> Self {
        Self {
            id: container.id.clone(),
            name: container.name.clone(),
            running: container.is_running(),
            labels: container.labels.clone(),
        }
    }
}

/// Returns the containers that [`list`] found.
fn former(prior: Option<&Outcome>) -> Vec<FormerContainer> {
    match prior {
        Some(Outcome::Compose(ComposeOutcome::Ps(containers))) => containers.iter().map(Into::into).collect(),
        _ => Vec::new(),
    }
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
    /// Set by an undo: restores these containers instead, and removes the others of the services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back_to: Vec<FormerContainer>,
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
        prior: |up| Some(list(&up.project, up.scope())),
        undo: Self::undo_from,
        takes_down: |up| TakesDown::Listed(Box::new(list(&up.project, up.scope()))),
    }
}

impl ComposeUp {
    /// Returns the services whose containers it may replace: those of dependencies too. Empty: all.
    pub fn scope(&self) -> &[String] {
        if self.no_deps { &self.services } else { &[] }
    }

    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let back_to = former(prior);
        if back_to.is_empty() {
            return Undo::by(ComposeStop {
                project: self.project.clone(),
                services: self.services.clone(),
                remove: true,
                disposable: true,
            });
        }
        Undo::by(Self { build: false, force_recreate: false, back_to, ..self.clone() })
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
    /// Removed containers need not come back if the run is rolled back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disposable: bool,
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
        let back_to = former(prior);
        if self.disposable || back_to.is_empty() {
            return Undo::Nothing;
        }
        Undo::by(ComposeUp {
            project: self.project.clone(),
            services: self.services.clone(),
            build: false,
            force_recreate: false,
            no_deps: true,
            timeout: DEFAULT_UP_TIMEOUT,
            back_to,
        })
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
