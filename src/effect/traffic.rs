//! Who gets which request: routes, targets, weights, and what they did lately. Plain data, shared with the proxy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::duration_text::DurationText;

/// Where a service is reached, and how its targets are watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub service: String,
    /// The public address that answers, such as `0.0.0.0:80`.
    pub address: String,
    /// Further public addresses that answer the same, such as the one with TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Requests for this host alone. Default: for every host that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Requests below this path alone; whole segments, the longest wins. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    #[serde(default)]
    pub check: TargetCheck,
}

/// How the targets of a route are watched, before the switch and after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCheck {
    /// Asked with `GET`; a status below 400 is healthy. Default: that a connection opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: DurationText,
    /// Of one check. Default 2 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
    /// Failures in a row that make it unhealthy. Default 3.
    #[serde(default = "default_fall")]
    pub fall: u32,
    /// Successes in a row that make it healthy again. Default 2.
    #[serde(default = "default_rise")]
    pub rise: u32,
}

fn default_interval() -> DurationText {
    DurationText::secs(1)
}

fn default_timeout() -> DurationText {
    DurationText::secs(2)
}

fn default_fall() -> u32 {
    3
}

fn default_rise() -> u32 {
    2
}

impl Default for TargetCheck {
    fn default() -> Self {
        Self {
            path: None,
            interval: default_interval(),
            timeout: default_timeout(),
            fall: default_fall(),
            rise: default_rise(),
        }
    }
}

/// One instance behind a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub name: String,
    /// `HOST:PORT` that the proxy reaches.
    pub address: String,
    /// Its share; 0 keeps it warm: it gets requests only when nobody else is healthy. Default 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

fn default_weight() -> u32 {
    1
}

/// Who gets the requests of a service: one step of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    pub targets: Vec<Target>,
    /// A visitor stays with the target that the first request got, until the next step. Default: no.
    #[serde(default)]
    pub sticky: bool,
    /// Who goes to one target whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
}

/// Requests that carry this header or this cookie go to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryRule {
    pub target: String,
    pub by: CanaryMark,
    /// The header's or cookie's name.
    pub name: String,
    /// Default: any value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryMark {
    Header,
    Cookie,
}

/// How it goes with one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    pub name: String,
    pub address: String,
    pub weight: u32,
    pub healthy: bool,
    /// It gets no new requests any more.
    pub draining: bool,
    /// Requests that it has not answered to the end.
    pub in_flight: u64,
    /// Upgraded streams that are open.
    pub streams: u64,
}

/// A route as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    pub route: Route,
    /// Whoever commands with an older one is refused.
    pub epoch: u64,
    pub targets: Vec<TargetView>,
    #[serde(default)]
    pub sticky: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Requests that wait, when they are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
}

/// Copies of safe requests without a body go to this target too; its answers are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `HOST:PORT`.
    pub address: String,
    /// Of a hundred requests. Default 100.
    #[serde(default = "default_percent")]
    pub percent: u32,
}

fn default_percent() -> u32 {
    100
}

/// What a drain came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    pub waited_ms: u64,
    /// Requests that were cut at the deadline.
    pub requests_cut: u64,
    /// Upgraded streams that were cut at theirs.
    pub streams_cut: u64,
}

/// What a hold came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Requests that waited at that moment, and go on now.
    pub waiting: u64,
    /// Requests that were turned away, for there were too many or it took too long.
    pub turned_away: u64,
}

/// What the targets of a service did lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficStats {
    pub service: String,
    /// The seconds that it looked back; whole ones, the current one included.
    pub window: DurationText,
    pub targets: BTreeMap<String, TargetStats>,
}

/// What one target did in the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetStats {
    /// Answered to the end, or failed.
    pub requests: u64,
    /// Right now.
    pub in_flight: u64,
    pub streams: u64,
    pub errors: ErrorCounts,
    /// Answers by class: `2xx`, `5xx`.
    pub statuses: BTreeMap<String, u64>,
    pub latency: Latency,
}

/// Requests that got no whole answer, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// No connection to the target.
    pub connect: u64,
    /// It did not answer in time.
    pub timeout: u64,
    /// The connection broke before the answer's end.
    pub broken: u64,
    /// Cut by a drain.
    pub cut: u64,
    /// The visitor left first. Not the target's fault.
    pub client: u64,
}

/// From the whole head of the request to the last byte of the answer, in milliseconds. Zero without a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}
