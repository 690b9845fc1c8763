//! What the targets of a route did: counts, latencies, and what a drain or a hold came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::totals::Totals;
use crate::base::duration_text::DurationText;

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
    /// Since the driver began to reach it, whatever the window.
    #[serde(default)]
    pub total: Totals,
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
