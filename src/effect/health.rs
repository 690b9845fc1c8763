//! Health checks: waiting until something is healthy.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::category::category;
use super::container::{Container, ContainerState};
use super::request::request;
use super::{EffectError, ErrorKind};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

category! {
    /// Health checks.
    Health: HealthEffect => HealthOutcome {
        Wait(WaitHealthy),
    }
}

/// `health_wait`: waits until a container, an address or a port is healthy.
///
/// The options decide what is checked:
/// - `url`: an HTTP request to it. With `container` too, it fails at once if that container exits;
/// - `tcp` (`HOST:PORT`): a TCP connection;
/// - `container` and `path` or `port`: an HTTP request to the container's `port`
///   (default: its only published or exposed one);
/// - `container` alone: its own health check, or without one, that it has been running for `steady`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitHealthy {
    /// The container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
    /// The address for an HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// The address for a TCP connection, `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// The port inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path of the HTTP request to the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Status codes that count as healthy. Default: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Fields of the JSON body and the values they must have; `a.b` reaches nested ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// Healthy answers in a row. Default 1.
    #[serde(default = "default_successes")]
    pub successes: u32,
    /// How long a container without a health check must have been running. Default 1 s.
    #[serde(default = "default_steady")]
    pub steady: DurationText,
    /// The longest pause between two tries. The first pause is 50 ms, and each one is twice the one before. Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: DurationText,
    /// The timeout of one try. Default 5 s.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: DurationText,
    /// The timeout of all tries together. Default 60 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

/// The first pause between two tries. It is short, so that an app is found ready at once and not at the next second.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);

fn default_successes() -> u32 {
    1
}

fn default_steady() -> DurationText {
    DurationText::secs(1)
}

fn default_interval() -> DurationText {
    DurationText::secs(1)
}

fn default_request_timeout() -> DurationText {
    DurationText::secs(5)
}

fn default_timeout() -> DurationText {
    DurationText::secs(60)
}

request! {
    WaitHealthy {
        kind: "health_wait",
        reply: Healthy,
        access: Read,
        deadline: timeout,
        is_safety_check: true,
        subject: Self::checked_target,
    }
}

impl WaitHealthy {
    fn checked_target(&self) -> String {
        let url = self.url.as_ref().map(ToString::to_string);
        let container = self.container.as_ref().map(ToString::to_string);
        url.or_else(|| self.tcp.clone()).or(container).unwrap_or_default()
    }
}

/// How a service is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// HTTP to the URL.
    Url,
    /// A TCP connection.
    Tcp,
    /// HTTP to a port of the container.
    ContainerHttp,
    /// The container's own state or health check.
    ContainerState,
}

/// The hint for a container that exited.
const DEATH_HINT: &str = "read its last log lines, or start the same image by hand to see more";

impl WaitHealthy {
    /// Returns which probe the options choose.
    ///
    /// # Errors
    /// Fails if options are missing or contradict each other.
    pub fn probe_kind(&self) -> Result<ProbeKind, EffectError> {
        let invalid = |message: &str| Err(EffectError::invalid(message));
        let has_conditions =
            !self.status.is_empty() || self.body.is_some() || !self.json.is_empty() || !self.headers.is_empty();
        let has_path_or_port = self.path.is_some() || self.port.is_some();
        let kind = match (&self.url, &self.tcp, &self.container) {
            (Some(_), Some(_), _) => return invalid("`url` and `tcp` cannot both be set"),
            (Some(_), None, _) => ProbeKind::Url,
            (None, Some(_), _) => ProbeKind::Tcp,
            (None, None, Some(_)) if has_path_or_port => ProbeKind::ContainerHttp,
            (None, None, Some(_)) => ProbeKind::ContainerState,
            (None, None, None) => return invalid("set one of `container`, `url` and `tcp`"),
        };
        match kind {
            ProbeKind::Url | ProbeKind::Tcp if has_path_or_port => {
                invalid("`path` and `port` apply to a `container`, not to `url` or `tcp`")
            }
            ProbeKind::Tcp | ProbeKind::ContainerState if has_conditions => {
                invalid("`status`, `body`, `json` and `headers` need an HTTP check: set `path` or `url`")
            }
            kind => Ok(kind),
        }
    }

    /// Returns the error for a service that was not healthy in time; `last` is why the last try failed.
    pub fn timed_out(&self, last: Option<&str>) -> EffectError {
        let last = last.map_or_else(|| "there was no answer".into(), |why| format!("last answer: {why}"));
        let message = format!("`{}` was not healthy within {}; {last}", self.checked_target(), self.timeout);
        EffectError::new(ErrorKind::Unhealthy, message)
    }
}

/// Returns the error for a container that exited during the wait.
pub fn container_died(container: &Container) -> EffectError {
    let name = &container.name;
    let code = container.exit_code.map_or_else(|| "an unknown exit code".into(), |code| format!("exit code {code}"));
    let (message, hint) = if container.oom_killed {
        (format!("container `{name}` ran out of memory and was killed ({code})"), "raise its `mem_limit`")
    } else if container.state == ContainerState::Restarting {
        (format!("container `{name}` keeps ending with {code} and being restarted"), DEATH_HINT)
    } else {
        (format!("container `{name}` ended with {code} during the wait"), DEATH_HINT)
    };
    EffectError::new(ErrorKind::ContainerDied, message).hint(hint)
}

/// Returns the error for a container whose own health check failed.
pub fn container_unhealthy(container: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::Unhealthy, format!("the health check of container `{container}` says `unhealthy`"))
        .hint("check what its `healthcheck` runs, and whether `start_period` is long enough")
}

/// The result of a health check that succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthy {
    /// The number of tries.
    pub attempts: u32,
    /// How long it waited, in milliseconds.
    pub waited_ms: u64,
    /// The status code of the last answer, if HTTP was used.
    #[serde(default)]
    pub status: Option<u16>,
}
