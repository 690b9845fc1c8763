//! Statistics of a simulated route by target, updated on each read or change. Counts client traffic as a rate; the load
//! that a script generates is not included.
//!
//! Faults: those of an app's responses, and one request in every n (`SimResponse::fails_every`).

use std::collections::BTreeMap;

use crate::effect::EffectError;
use crate::effect::traffic::{ErrorCounts, Latency, ReadTrafficStats, Target, TargetStats, TrafficStats, latency_step};
use crate::world::sim::http::ServedResponse;
use crate::world::sim::model::behaviour::SimResponse;
use crate::world::sim::model::traffic_counts::TargetCounts;
use crate::world::sim::sim_clock::whole_ms;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn traffic_stats(&mut self, request: &ReadTrafficStats) -> Result<TrafficStats, EffectError> {
        let service = &request.service;
        self.count_requests(service);
        let route = self.route_of(service)?;
        let all: u64 = route.targets.iter().map(|target| u64::from(target.weight)).sum();
        let requests = self.requests_per_second * whole_ms(request.window.0) / 1_000;
        let share = |target: &Target| requests * u64::from(target.weight) / all.max(1);
        let tally =
            |name: &str| self.request_counts.get(service).and_then(|request_counts| request_counts.targets.get(name));
        let stats = |target: &Target| {
            let total = tally(&target.name).map(TargetCounts::totals).unwrap_or_default();
            (target.name.clone(), TargetStats { total, ..self.target_stats(target, share(target)) })
        };
        Ok(TrafficStats {
            service: service.clone(),
            window: request.window,
            targets: route.targets.iter().map(stats).collect(),
        })
    }

    fn target_stats(&self, target: &Target, requests: u64) -> TargetStats {
        let Some(ServedResponse { response, .. }) = self.target_response(target, "/") else {
            let errors = ErrorCounts { connect: requests, ..ErrorCounts::default() };
            return TargetStats { requests, errors, ..TargetStats::default() };
        };
        let took = response.takes_ms as f64;
        let latency = Latency { p50_ms: took, p90_ms: took, p99_ms: took, max_ms: took };
        let failed = (requests as f64 * failure_share(&response)) as u64;
        let own = format!("{}xx", response.status / 100);
        let mut statuses = BTreeMap::from([(own, requests - failed), ("5xx".to_owned(), failed)]);
        statuses.retain(|_, count| *count > 0);
        TargetStats { requests, statuses, latency, ..TargetStats::default() }
    }

    /// Counts the requests since the last count, as if all were answered as now.
    pub(crate) fn count_requests(&mut self, service: &str) {
        let (Ok(route), now) = (self.route_of(service), self.now()) else { return };
        let since = self.request_counts.get(service).and_then(|request_counts| request_counts.until).unwrap_or(now);
        let request_counts = self.requests_per_second as f64 * (now - since) as f64 / 1_000.0;
        let all: u32 = route.targets.iter().map(|target| target.weight).sum();
        let answered: Vec<(String, f64, Option<SimResponse>)> = route
            .targets
            .iter()
            .map(|target| {
                let share = request_counts * f64::from(target.weight) / f64::from(all.max(1));
                (target.name.clone(), share, self.target_response(target, "/").map(|answer| answer.response))
            })
            .collect();
        let known = self.request_counts.entry(service.to_owned()).or_default();
        known.until = Some(now);
        for (name, request_counts, response) in answered {
            let tally = known.targets.entry(name).or_default();
            let failed = request_counts * response.as_ref().map_or(1.0, failure_share);
            tally.judged += request_counts;
            tally.failed += failed;
            if let Some(response) = response {
                *tally.latencies.entry(latency_step(response.takes_ms * 1_000)).or_default() += request_counts - failed;
            }
        }
    }
}

/// Returns the share of requests that get an error.
fn failure_share(response: &SimResponse) -> f64 {
    match response.fails_every {
        _ if response.status >= 500 => 1.0,
        0 => 0.0,
        every => 1.0 / every as f64,
    }
}
