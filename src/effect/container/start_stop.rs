//! `docker_start`, `docker_stop` and `docker_kill`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::put_away::is_false;
use super::view::prior_container;
use super::{Container, ContainerOutcome, InspectContainer};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, TakesDown, Trace, Undo, Verdict};

/// Docker's own default: `docker stop` waits 10 s before SIGKILL.
pub const DEFAULT_STOP_GRACE: DurationText = DurationText::secs(10);

/// `docker_start`: starts a stopped container. A running one is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartContainer {
    pub container: ContainerRef,
    /// Stops it first, so that it surely runs afterwards: a signal that ends it may be on its way; what the undo of
    /// `docker_stop` and `docker_kill` asks for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub anew: bool,
}

impl StartContainer {
    /// What must be done first.
    pub fn stop_first(&self) -> Option<StopContainer> {
        self.anew.then(|| StopContainer {
            container: self.container.clone(),
            grace: DEFAULT_STOP_GRACE,
            signal: None,
            missing_ok: true,
        })
    }
}

impl Facts for StartContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        match prior_container(prior) {
            Some(container) if container.is_running() => Undo::Nothing,
            _ => Undo::by(StopContainer {
                container: self.container.clone(),
                grace: DEFAULT_STOP_GRACE,
                signal: None,
                missing_ok: true,
            }),
        }
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for StartContainer {
    const KIND: &'static str = "docker_start";
    type Reply = Container;
}

/// `docker_stop`: asks the container to end, and kills it when `grace` is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopContainer {
    pub container: ContainerRef,
    /// Time between the signal and SIGKILL. Default 10 s.
    #[serde(default = "default_stop_grace")]
    pub grace: DurationText,
    /// Default: the image's stop signal, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    #[serde(default)]
    pub missing_ok: bool,
}

fn default_stop_grace() -> DurationText {
    DEFAULT_STOP_GRACE
}

/// Starts it again if it ran before.
fn start_again(container: &ContainerRef, prior: Option<&Outcome>) -> Undo {
    match prior_container(prior) {
        Some(found) if found.is_running() => Undo::by(StartContainer { container: container.clone(), anew: true }),
        _ => Undo::Nothing,
    }
}

impl Facts for StopContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.grace.0 + GRACE
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        start_again(&self.container, prior)
    }

    fn takes_down(&self) -> TakesDown {
        TakesDown::Container(self.container.clone())
    }

    fn subject(&self) -> String {
        self.container.to_string()
    }
}

impl Request for StopContainer {
    const KIND: &'static str = "docker_stop";
    type Reply = Stopped;
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// None when there was no such container and that was allowed.
    pub exit_code: Option<i64>,
    /// Whether it had to be killed because the grace was over.
    pub killed: bool,
}

/// `docker_kill`: sends a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KillContainer {
    pub container: ContainerRef,
    #[serde(default = "default_kill_signal")]
    pub signal: String,
}

fn default_kill_signal() -> String {
    "SIGKILL".into()
}

/// Signals that programs use to be told something, not to end.
fn is_message(signal: &str) -> bool {
    let signal = signal.strip_prefix("SIG").unwrap_or(signal);
    matches!(signal, "HUP" | "USR1" | "USR2" | "WINCH" | "CONT" | "1" | "10" | "12" | "18" | "28")
}

impl Facts for KillContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    fn prior(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        start_again(&self.container, prior)
    }

    fn evidence(&self) -> Option<Effect> {
        Some(InspectContainer { container: self.container.clone(), missing_ok: true }.into())
    }

    fn verdict(&self, _: Trace<'_>, evidence: &Outcome) -> Verdict {
        // A signal leaves no trace but the end of what it was sent to.
        match prior_container(Some(evidence)) {
            Some(container) if container.is_running() => Verdict::Not,
            _ => Verdict::happened(Outcome::Container(ContainerOutcome::Kill(()))),
        }
    }

    fn takes_down(&self) -> TakesDown {
        if is_message(&self.signal) { TakesDown::Nobody } else { TakesDown::Container(self.container.clone()) }
    }

    fn subject(&self) -> String {
        format!("{} {}", self.container, self.signal)
    }
}

impl Request for KillContainer {
    const KIND: &'static str = "docker_kill";
    type Reply = ();
}
