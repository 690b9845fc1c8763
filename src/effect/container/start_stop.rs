//! `docker_start`, `docker_stop` and `docker_kill`.

use serde::{Deserialize, Serialize};

use super::{Container, ContainerOutcome, inspect, inspected};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::effect::request::request;
use crate::effect::{Observation, Outcome, PendingEffect, TakesDown, Undo};

/// Docker's own default: `docker stop` waits 10 s before SIGKILL.
pub const DEFAULT_STOP_GRACE: DurationText = DurationText::secs(10);

/// `docker_start`: starts a stopped container. A running one is left as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartContainer {
    /// The container.
    pub container: ContainerRef,
    /// Stops it first, so that it certainly runs afterwards even if a signal that ends it is on its way. Used by the
    /// undo of `docker_stop` and `docker_kill`.
    #[serde(default, alias = "anew", skip_serializing_if = "std::ops::Not::not")]
    pub stop_first: bool,
}

impl StartContainer {
    /// Returns the stop to perform first, if `stop_first` requires one.
    pub fn stop_request(&self) -> Option<StopContainer> {
        self.stop_first.then(|| stop_gracefully(&self.container))
    }
}

request! {
    StartContainer {
        kind: "docker_start",
        reply: Container,
        access: Write,
        recovery: Repeat,
        subject: container,
        prior: |start| Some(inspect(&start.container)),
        undo: |start, prior| match inspected(prior) {
            Some(container) if container.is_running() => Undo::Nothing,
            _ => Undo::by(stop_gracefully(&start.container)),
        },
    }
}

/// `docker_stop`: asks a container to exit, and kills it when `grace` is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopContainer {
    /// The container.
    pub container: ContainerRef,
    /// Time between the signal and SIGKILL. Default 10 s.
    #[serde(default = "default_stop_grace")]
    pub grace: DurationText,
    /// Default: the image's stop signal, else SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Succeeds if the container does not exist.
    #[serde(default)]
    pub missing_ok: bool,
}

fn default_stop_grace() -> DurationText {
    DEFAULT_STOP_GRACE
}

request! {
    StopContainer {
        kind: "docker_stop",
        reply: Stopped,
        access: Write,
        recovery: Repeat,
        deadline: grace,
        subject: container,
        prior: |stop| Some(inspect(&stop.container)),
        undo: |stop, prior| start_again(&stop.container, prior),
        takes_down: |stop| TakesDown::Container(stop.container.clone()),
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The exit code; `()` if the container did not exist and `missing_ok` allowed it.
    pub exit_code: Option<i64>,
    /// Whether it was killed because the grace period was over.
    pub killed: bool,
}

/// `docker_kill`: sends a signal to a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KillContainer {
    /// The container.
    pub container: ContainerRef,
    /// The signal. Default `SIGKILL`.
    #[serde(default = "default_kill_signal")]
    pub signal: String,
}

fn default_kill_signal() -> String {
    "SIGKILL".into()
}

request! {
    KillContainer {
        kind: "docker_kill",
        reply: (),
        access: Write,
        subject: |kill| format!("{} {}", kill.container, kill.signal),
        prior: |kill| Some(inspect(&kill.container)),
        undo: |kill, prior| start_again(&kill.container, prior),
        evidence: |kill| Some(inspect(&kill.container)),
        observe: Self::observe_from,
        takes_down: |kill| match is_notification(&kill.signal) {
            true => TakesDown::Nothing,
            false => TakesDown::Container(kill.container.clone()),
        },
    }
}

impl KillContainer {
    fn observe_from(&self, _: PendingEffect<'_>, evidence: &Outcome) -> Observation {
        // The only trace that a signal leaves is the end of the process.
        match inspected(Some(evidence)) {
            Some(container) if container.is_running() => Observation::NotDone,
            _ => Observation::done(Outcome::Container(ContainerOutcome::Kill(()))),
        }
    }
}

/// Returns whether programs use this signal as a notification, such as to reload, rather than to exit.
fn is_notification(signal: &str) -> bool {
    let signal = signal.strip_prefix("SIG").unwrap_or(signal);
    matches!(signal, "HUP" | "USR1" | "USR2" | "WINCH" | "CONT" | "1" | "10" | "12" | "18" | "28")
}

/// Stops a container that may be gone, with the default grace period.
fn stop_gracefully(container: &ContainerRef) -> StopContainer {
    StopContainer { container: container.clone(), grace: DEFAULT_STOP_GRACE, signal: None, missing_ok: true }
}

/// Starts a container again if it ran before.
fn start_again(container: &ContainerRef, prior: Option<&Outcome>) -> Undo {
    match inspected(prior) {
        Some(found) if found.is_running() => {
            Undo::by(StartContainer { container: container.clone(), stop_first: true })
        }
        _ => Undo::Nothing,
    }
}
