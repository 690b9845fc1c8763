//! Waiting until something is healthy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::GRACE;
use super::family::family;
use super::{Access, Facts, Request};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;

family! {
    /// What can be asked of health.
    Health: HealthEffect => HealthOutcome {
        Wait(WaitHealthy),
    }
}

/// `health_wait`: waits until a container, an address or a port is healthy.
///
/// What is asked follows from what is given:
/// - `url`: an HTTP request to it; with `container` too, ends at once when that container dies;
/// - `tcp` (`HOST:PORT`): that a connection opens;
/// - `container` and `path` or `port`: an HTTP request to the container's `port`
///   (default: its only published or exposed one);
/// - `container` alone: its own health check, or without one that it runs for `steady`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitHealthy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// The port inside the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Status codes that count as healthy. Default: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// A text that the body must have in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Fields of the JSON body and the values they must have; `a.b` reaches nested ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Text>,
    /// Healthy answers in a row. Default 1.
    #[serde(default = "default_successes")]
    pub successes: u32,
    /// How long a container without a health check must have been running. Default 1 s.
    #[serde(default = "default_steady")]
    pub steady: DurationText,
    /// The longest pause between two tries; the first ones come after 50 ms, then each pause doubles. Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: DurationText,
    /// Of one try. Default 5 s.
    #[serde(default = "default_request_timeout")]
    pub request_timeout: DurationText,
    /// Of all together. Default 60 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
}

/// The first pause between two tries: a ready app is seen at once, not on a grid of seconds.
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

impl Facts for WaitHealthy {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn is_safety_check(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        let url = self.url.as_ref().map(ToString::to_string);
        let container = self.container.as_ref().map(ToString::to_string);
        url.or_else(|| self.tcp.clone()).or(container).unwrap_or_default()
    }
}

impl Request for WaitHealthy {
    const KIND: &'static str = "health_wait";
    type Reply = Healthy;
}

/// What it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Healthy {
    pub attempts: u32,
    pub waited_ms: u64,
    /// Of the last answer, where there was HTTP.
    #[serde(default)]
    pub status: Option<u16>,
}
