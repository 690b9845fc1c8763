//! `load_test` in virtual time: responses are sampled once a second. There is no queue: every request is sent on time,
//! so a slow app delays only the request itself.
//!
//! Faults: those of an app's responses, sampled each second: refused, too slow, a wrong status.

use super::http::reveal;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::load::{LoadReport, LoadTest};
use crate::effect::traffic::Latency;
use crate::world::Call;

/// Time between two samples.
const SLICE_MS: u64 = 1_000;

impl SimHost {
    pub(super) fn load_test(&mut self, call: &Call, asked: &LoadTest) -> Result<LoadReport, EffectError> {
        let planned = asked.planned()?;
        reveal(call, &asked.headers)?;
        if let Some(body) = &asked.body {
            call.vault.reveal(body)?;
        }
        let (endpoint, path) = self.endpoint_of(call, &asked.url)?;
        let (duration, timeout_ms) = (whole_ms(asked.duration.0), whole_ms(asked.timeout.0));
        let mut report = LoadReport { planned, sent: planned, ..LoadReport::default() };
        // Response times, and how many requests took that long.
        let mut took: Vec<(u64, u64)> = Vec::new();
        let (mut passed, mut done) = (0, 0);
        while passed < duration {
            if call.cancel.is_cancelled() {
                return Err(EffectError::cancelled());
            }
            let slice = SLICE_MS.min(duration - passed);
            let until = if passed + slice == duration { planned } else { planned * (passed + slice) / duration };
            let count = until - done;
            match self.response(&endpoint, &path) {
                None => report.errors.connect += count,
                Some(response) if response.takes_ms > timeout_ms => {
                    report.errors.timeout += count;
                    took.push((timeout_ms, count));
                }
                Some(response) => {
                    report.answered += count;
                    report.unexpected += if asked.expects(response.status) { 0 } else { count };
                    *report.statuses.entry(format!("{}xx", response.status / 100)).or_default() += count;
                    took.push((response.takes_ms, count));
                }
            }
            (passed, done) = (passed + slice, until);
            self.advance(slice);
        }
        report.statuses.retain(|_, count| *count > 0);
        report.failed = report.errors.sum() + report.unexpected;
        report.error_rate = report.failed as f64 / planned as f64;
        report.latency = latency(took);
        report.rate = report.answered as f64 * 1_000.0 / duration as f64;
        report.elapsed_ms = duration;
        Ok(report)
    }
}

fn latency(mut took: Vec<(u64, u64)>) -> Latency {
    took.sort_unstable();
    let all: u64 = took.iter().map(|(_, count)| count).sum();
    let at = |quantile: f64| {
        let mut rest = (quantile * all as f64).ceil() as u64;
        let slowest = took.iter().find(|(_, count)| {
            let found = *count >= rest;
            rest = rest.saturating_sub(*count);
            found
        });
        slowest.map_or(0.0, |(ms, _)| *ms as f64)
    };
    Latency { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: at(1.0) }
}
