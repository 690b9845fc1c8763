//! What the visitors of a simulated route were answered, by target: counted whenever somebody looks or steers. Knows
//! visitors as a rate; load that a script sends is not among them.
//!
//! Faults: those of an app's answers, and one visitor of so many (`Page::fails_every`).

use std::collections::BTreeMap;

use super::behaviour::Page;
use super::http::Answer;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::traffic::{AskStats, ErrorCounts, Latency, Target, TargetStats, Totals, TrafficStats, latency_step};

/// Visits of one service so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Visits {
    /// Up to this instant of the clock; none before the first look.
    until: Option<u64>,
    targets: BTreeMap<String, Tally>,
}

/// Visits come at a rate, so that parts of one count.
#[derive(Clone, Debug, Default)]
struct Tally {
    judged: f64,
    failed: f64,
    latencies: BTreeMap<u16, f64>,
}

impl Tally {
    fn totals(&self) -> Totals {
        let count = |visits: f64| visits as u64;
        Totals {
            judged: count(self.judged),
            failed: count(self.failed),
            latencies: self.latencies.iter().map(|(step, visits)| (*step, count(*visits))).collect(),
        }
    }
}

/// The share of its visitors that a page fails.
fn failing(page: &Page) -> f64 {
    match page.fails_every {
        _ if page.status >= 500 => 1.0,
        0 => 0.0,
        every => 1.0 / every as f64,
    }
}

impl SimHost {
    pub(super) fn traffic_stats(&mut self, request: &AskStats) -> Result<TrafficStats, EffectError> {
        let service = &request.service;
        self.count_visits(service);
        let route = self.route_of(service)?;
        let all: u64 = route.targets.iter().map(|target| u64::from(target.weight)).sum();
        let requests = self.visitors_per_second * whole_ms(request.window.0) / 1_000;
        let share = |target: &Target| requests * u64::from(target.weight) / all.max(1);
        let tally = |name: &str| self.visits.get(service).and_then(|visits| visits.targets.get(name));
        let stats = |target: &Target| {
            let total = tally(&target.name).map(Tally::totals).unwrap_or_default();
            (target.name.clone(), TargetStats { total, ..self.figures(target, share(target)) })
        };
        Ok(TrafficStats {
            service: service.clone(),
            window: request.window,
            targets: route.targets.iter().map(stats).collect(),
        })
    }

    fn figures(&self, target: &Target, requests: u64) -> TargetStats {
        let Some(Answer { page, .. }) = self.answer_of(target, "/") else {
            let errors = ErrorCounts { connect: requests, ..ErrorCounts::default() };
            return TargetStats { requests, errors, ..TargetStats::default() };
        };
        let took = page.takes_ms as f64;
        let latency = Latency { p50_ms: took, p90_ms: took, p99_ms: took, max_ms: took };
        let failed = (requests as f64 * failing(&page)) as u64;
        let own = format!("{}xx", page.status / 100);
        let mut statuses = BTreeMap::from([(own, requests - failed), ("5xx".to_owned(), failed)]);
        statuses.retain(|_, count| *count > 0);
        TargetStats { requests, statuses, latency, ..TargetStats::default() }
    }

    /// Counts who came since the last time, as if all had come now.
    pub(super) fn count_visits(&mut self, service: &str) {
        let (Ok(route), now) = (self.route_of(service), self.now()) else { return };
        let since = self.visits.get(service).and_then(|visits| visits.until).unwrap_or(now);
        let visits = self.visitors_per_second as f64 * (now - since) as f64 / 1_000.0;
        let all: u32 = route.targets.iter().map(|target| target.weight).sum();
        let answered: Vec<(String, f64, Option<Page>)> = route
            .targets
            .iter()
            .map(|target| {
                let share = visits * f64::from(target.weight) / f64::from(all.max(1));
                (target.name.clone(), share, self.answer_of(target, "/").map(|answer| answer.page))
            })
            .collect();
        let known = self.visits.entry(service.to_owned()).or_default();
        known.until = Some(now);
        for (name, visits, page) in answered {
            let tally = known.targets.entry(name).or_default();
            let failed = visits * page.as_ref().map_or(1.0, failing);
            tally.judged += visits;
            tally.failed += failed;
            if let Some(page) = page {
                *tally.latencies.entry(latency_step(page.takes_ms * 1_000)).or_default() += visits - failed;
            }
        }
    }
}
