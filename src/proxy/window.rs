//! Statistics of a target for each of the last seconds: counts and latencies, in bounded memory. The caller supplies the
//! second; this file reads no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::limits::WINDOW;
use crate::effect::traffic::{ErrorCounts, LAST_STEP, Latency, TargetStats, TargetTotals, latency_step};

/// Significant digits of a latency: an error of one per cent.
const DIGITS: u8 = 2;
/// In microseconds. Longer latencies count as this one.
const LONGEST: u64 = 3_600_000_000;
/// ProxyStatus classes: 1xx to 5xx.
const CLASSES: usize = 5;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// The target answered with this status, to the last byte.
    Answered(u16),
    /// No connection to the target.
    Connect,
    /// The target did not answer in time.
    Timeout,
    /// The connection to the target broke.
    Broken,
    /// A drain reached its deadline.
    Cut,
    /// The client disconnected or sent something wrong.
    Client,
    /// This process has no file descriptor or port left. The target is not to blame.
    Proxy,
}

/// The recent requests of one target on one thread.
#[derive(Debug, Default)]
pub struct Window {
    /// The current second.
    now: Option<(u64, Counts, Histogram<u32>)>,
    past: VecDeque<Second>,
    lifetime: LifetimeTotals,
}

/// Counts since the process began.
#[derive(Debug, Default)]
struct LifetimeTotals {
    judged: u64,
    failed: u64,
    /// By latency step; empty before the first request.
    latencies: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    errors: ErrorCounts,
    classes: [u64; CLASSES],
}

#[derive(Debug)]
struct Second {
    second: u64,
    tally: Counts,
    /// The latencies that occurred, in microseconds, and how often.
    latencies: Box<[(u32, u32)]>,
}

impl Window {
    /// Adds a request that ended in this second.
    pub fn record(&mut self, second: u64, end: RequestEnd, took: Duration) {
        if self.now.as_ref().is_some_and(|(current, ..)| *current != second) {
            self.close();
        }
        if self.now.is_none() {
            // Cannot fail: the bounds are valid constants.
            let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST, DIGITS) else { return };
            self.now = Some((second, Counts::default(), histogram));
        }
        self.lifetime.count(end, took);
        let Some((_, tally, latencies)) = &mut self.now else { return };
        tally.count(end);
        if !matches!(end, RequestEnd::Client | RequestEnd::Proxy) {
            latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST));
        }
    }

    fn close(&mut self) {
        let Some((second, tally, histogram)) = self.now.take() else { return };
        let latencies = histogram
            .iter_recorded()
            .map(|step| {
                (u32::try_from(step.value_iterated_to()).unwrap_or(u32::MAX), step.count_since_last_iteration() as u32)
            })
            .collect();
        self.past.push_back(Second { second, tally, latencies });
        while self.past.front().is_some_and(|oldest| oldest.second + WINDOW as u64 <= second) {
            self.past.pop_front();
        }
    }

    /// Adds the requests since the second `from` to the sum.
    pub fn add_to(&self, sum: &mut WindowSum, from: u64) {
        sum.lifetime.add(&self.lifetime);
        for past in self.past.iter().filter(|past| past.second >= from) {
            sum.tally.add(&past.tally);
            for (micros, count) in &past.latencies {
                sum.record(u64::from(*micros), *count);
            }
        }
        if let Some((second, tally, histogram)) = &self.now
            && *second >= from
        {
            sum.tally.add(tally);
            for step in histogram.iter_recorded() {
                sum.record(step.value_iterated_to(), step.count_since_last_iteration() as u32);
            }
        }
    }
}

impl LifetimeTotals {
    fn count(&mut self, end: RequestEnd, took: Duration) {
        match end {
            RequestEnd::Client | RequestEnd::Cut | RequestEnd::Proxy => return,
            RequestEnd::Answered(status) if status < 500 => {
                self.latencies.resize(usize::from(LAST_STEP) + 1, 0);
                self.latencies[usize::from(latency_step(u64::try_from(took.as_micros()).unwrap_or(LONGEST)))] += 1;
            }
            RequestEnd::Answered(_) | RequestEnd::Connect | RequestEnd::Timeout | RequestEnd::Broken => {
                self.failed += 1
            }
        }
        self.judged += 1;
    }

    fn add(&mut self, other: &Self) {
        self.judged += other.judged;
        self.failed += other.failed;
        self.latencies.resize(self.latencies.len().max(other.latencies.len()), 0);
        for (sum, more) in self.latencies.iter_mut().zip(&other.latencies) {
            *sum += more;
        }
    }

    fn totals(&self) -> TargetTotals {
        let occurred = (0..).zip(&self.latencies).filter(|(_, count)| **count > 0);
        TargetTotals {
            judged: self.judged,
            failed: self.failed,
            latencies: occurred.map(|(step, count)| (step, *count)).collect(),
        }
    }
}

impl Counts {
    fn count(&mut self, end: RequestEnd) {
        self.requests += 1;
        match end {
            RequestEnd::Answered(status) => {
                let class = usize::from(status / 100).saturating_sub(1).min(CLASSES - 1);
                self.classes[class] += 1;
            }
            RequestEnd::Connect => self.errors.connect += 1,
            RequestEnd::Timeout => self.errors.timeout += 1,
            RequestEnd::Broken => self.errors.broken += 1,
            RequestEnd::Cut => self.errors.cut += 1,
            RequestEnd::Client => self.errors.client += 1,
            RequestEnd::Proxy => {}
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors.connect += other.errors.connect;
        self.errors.timeout += other.errors.timeout;
        self.errors.broken += other.errors.broken;
        self.errors.cut += other.errors.cut;
        self.errors.client += other.errors.client;
        for (sum, more) in self.classes.iter_mut().zip(other.classes) {
            *sum += more;
        }
    }
}

/// The sum of several windows.
#[derive(Debug)]
pub struct WindowSum {
    tally: Counts,
    latencies: Option<Histogram<u64>>,
    lifetime: LifetimeTotals,
}

impl Default for WindowSum {
    fn default() -> Self {
        Self {
            tally: Counts::default(),
            latencies: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok(),
            lifetime: LifetimeTotals::default(),
        }
    }
}

impl WindowSum {
    fn record(&mut self, micros: u64, count: u32) {
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record_n(micros, u64::from(count));
        }
    }

    /// Returns the statistics without the current requests and streams, which the caller adds.
    pub fn stats(&self) -> TargetStats {
        let statuses: BTreeMap<String, u64> = self
            .tally
            .classes
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| (format!("{}xx", index + 1), *count))
            .collect();
        let latency = self.latencies.as_ref().filter(|all| !all.is_empty()).map(|all| {
            let at = |quantile| all.value_at_quantile(quantile) as f64 / 1_000.0;
            Latency { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), max_ms: all.max() as f64 / 1_000.0 }
        });
        TargetStats {
            requests: self.tally.requests,
            errors: self.tally.errors,
            statuses,
            latency: latency.unwrap_or_default(),
            total: self.lifetime.totals(),
            ..TargetStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_exactly_the_requested_seconds() {
        let mut window = Window::default();
        for second in 0..2_000 {
            window.record(second, RequestEnd::Answered(200), Duration::from_millis(5));
            window.record(second, RequestEnd::Answered(503), Duration::from_millis(50));
            window.record(second, RequestEnd::Connect, Duration::from_millis(1));
        }
        assert!(window.past.len() <= WINDOW);
        let mut sum = WindowSum::default();
        window.add_to(&mut sum, 2_000 - 10);
        let stats = sum.stats();
        assert_eq!((stats.requests, stats.errors.connect), (30, 10));
        assert_eq!((stats.statuses["2xx"], stats.statuses["5xx"]), (10, 10));
        assert!((4.9..5.1).contains(&stats.latency.p50_ms), "{:?}", stats.latency);
        assert!((49.0..51.0).contains(&stats.latency.p99_ms), "{:?}", stats.latency);
        let all = stats.total;
        assert_eq!((all.judged, all.failed), (6_000, 4_000));
        assert_eq!(all.latencies, [(latency_step(5_000), 2_000)]);
    }

    #[test]
    fn requests_ended_by_the_client_or_a_drain_are_not_judged() {
        let mut window = Window::default();
        for end in [RequestEnd::Client, RequestEnd::Cut, RequestEnd::Broken, RequestEnd::Answered(404)] {
            window.record(1, end, Duration::from_millis(1));
        }
        let mut sum = WindowSum::default();
        window.add_to(&mut sum, 0);
        assert_eq!((sum.stats().requests, sum.stats().total.judged, sum.stats().total.failed), (4, 2, 1));
    }
}
