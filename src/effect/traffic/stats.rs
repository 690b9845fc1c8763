//! Statistics of the targets of a route, and the results of a drain and of a hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::target_totals::TargetTotals;
use crate::base::duration_text::DurationText;

/// The result of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// How long it took, in milliseconds.
    pub waited_ms: u64,
    /// Requests that were cut at the deadline.
    pub requests_cut: u64,
    /// Upgraded streams that were cut at their deadline.
    pub streams_cut: u64,
}

/// The result of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Requests that waited until now and pass.
    pub waiting: u64,
    /// Requests that were refused because too many waited, or for too long.
    pub turned_away: u64,
}

/// Recent statistics of the targets of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficStats {
    /// The service.
    pub service: String,
    /// How far it looks back, in whole seconds, the current one included.
    pub window: DurationText,
    /// From the name of a target to its statistics.
    pub targets: BTreeMap<String, TargetStats>,
}

/// The statistics of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetStats {
    /// Requests that were answered to the end, or failed.
    pub requests: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Upgraded streams that are open now.
    pub streams: u64,
    /// Requests without a complete answer, by reason.
    pub errors: ErrorCounts,
    /// Answers by class: `2xx`, `5xx`.
    pub statuses: BTreeMap<String, u64>,
    /// The latency of complete answers.
    pub latency: Latency,
    /// Totals since the driver first reached it, whatever the window.
    #[serde(default)]
    pub total: TargetTotals,
}

/// Requests without a complete answer, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// No connection to the target.
    pub connect: u64,
    /// The target did not answer in time.
    pub timeout: u64,
    /// The connection broke before the end of the answer.
    pub broken: u64,
    /// Cut by a drain.
    pub cut: u64,
    /// The client left first, which is not the target's fault.
    pub client: u64,
}

/// Latency in milliseconds, from the complete head of the request to the last byte of the answer. Zero without requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// The 90th percentile.
    pub p90_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}
