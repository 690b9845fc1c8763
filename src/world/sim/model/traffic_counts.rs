//! Requests that the targets of a route have answered so far.

use std::collections::BTreeMap;

use crate::effect::traffic::TargetTotals;

/// Requests to one service so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestCounts {
    /// The time up to which requests are counted; `None` before the first count.
    pub(crate) until: Option<u64>,
    pub(crate) targets: BTreeMap<String, TargetCounts>,
}

/// Requests to one target. They arrive at a rate, so fractions of requests are counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetCounts {
    pub(crate) judged: f64,
    pub(crate) failed: f64,
    pub(crate) latencies: BTreeMap<u16, f64>,
}

impl TargetCounts {
    pub(crate) fn totals(&self) -> TargetTotals {
        let count = |request_counts: f64| request_counts as u64;
        TargetTotals {
            judged: count(self.judged),
            failed: count(self.failed),
            latencies: self.latencies.iter().map(|(step, request_counts)| (*step, count(*request_counts))).collect(),
        }
    }
}
