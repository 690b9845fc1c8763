//! `load_test` in virtual time: what is answered is looked at once a second. Knows no queue: every request is sent when
//! it is meant to be, so that a slow app is slow for each request by itself.
//!
//! Faults: those of an app's answers, from one second to the next: refused, too slow, a wrong status.

use super::http::reveal;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::load::{LoadReport, LoadTest};
use crate::effect::traffic::Latency;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Between two looks.
const SLICE_MS: u64 = 1_000;

impl SimHost {
    pub(super) fn load_test(&mut self, call: &Call, asked: &LoadTest) -> Result<LoadReport, EffectError> {
        let planned = asked.planned()?;
        reveal(call, &asked.headers)?;
        if let Some(body) = &asked.body {
            call.vault.reveal(body)?;
        }
        let (place, path) = self.place(&call.vault.reveal(&asked.url)?)?;
        let (duration, patience) = (whole_ms(asked.duration.0), whole_ms(asked.timeout.0));
        let mut report = LoadReport { planned, sent: planned, ..LoadReport::default() };
        // How long requests took, and how many did.
        let mut took: Vec<(u64, u64)> = Vec::new();
        let (mut passed, mut done) = (0, 0);
        while passed < duration {
            if call.cancel.is_cancelled() {
                return Err(EffectError::new(ErrorKind::Cancelled, "cancelled"));
            }
            let slice = SLICE_MS.min(duration - passed);
            let until = if passed + slice == duration { planned } else { planned * (passed + slice) / duration };
            let count = until - done;
            match self.page(&place, &path) {
                None => report.errors.connect += count,
                Some(page) if page.takes_ms > patience => {
                    report.errors.timeout += count;
                    took.push((patience, count));
                }
                Some(page) => {
                    report.answered += count;
                    report.unexpected += if asked.expects(page.status) { 0 } else { count };
                    *report.statuses.entry(format!("{}xx", page.status / 100)).or_default() += count;
                    took.push((page.takes_ms, count));
                }
            }
            (passed, done) = (passed + slice, until);
            self.pass(slice);
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
