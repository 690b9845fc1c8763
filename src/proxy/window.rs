//! What a target did in each of the last seconds: counts and latencies, bounded. Knows seconds, not the clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::limits::WINDOW;
use crate::effect::traffic::{ErrorCounts, LAST_STEP, Latency, TargetStats, Totals, latency_step};

/// Latencies are kept to two digits: one per cent.
const DIGITS: u8 = 2;
/// Micro seconds; what takes longer counts as this.
const LONGEST: u64 = 3_600_000_000;
/// Status classes: 1xx to 5xx.
const CLASSES: usize = 5;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status, to the last byte.
    Answered(u16),
    Connect,
    Timeout,
    Broken,
    Cut,
    Client,
}

/// Of one thread.
#[derive(Debug, Default)]
pub struct Window {
    now: Option<(u64, Tally, Histogram<u32>)>,
    past: VecDeque<Second>,
    ever: Ever,
}

/// Of a thread, or of all of them.
#[derive(Debug, Default)]
struct Ever {
    judged: u64,
    failed: u64,
    /// By step; empty before the first.
    latencies: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    requests: u64,
    errors: ErrorCounts,
    classes: [u64; CLASSES],
}

#[derive(Debug)]
struct Second {
    second: u64,
    tally: Tally,
    /// Micro seconds and how many, those that occurred.
    latencies: Box<[(u32, u32)]>,
}

impl Window {
    pub fn record(&mut self, second: u64, end: End, took: Duration) {
        if self.now.as_ref().is_some_and(|(current, ..)| *current != second) {
            self.close();
        }
        if self.now.is_none() {
            // Its bounds are constants that are right.
            let Ok(histogram) = Histogram::new_with_bounds(1, LONGEST, DIGITS) else { return };
            self.now = Some((second, Tally::default(), histogram));
        }
        self.ever.count(end, took);
        let Some((_, tally, latencies)) = &mut self.now else { return };
        tally.count(end);
        if end != End::Client {
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

    /// Adds what happened in the second `from` and after it to the sum.
    pub fn add_to(&self, sum: &mut Sum, from: u64) {
        sum.ever.add(&self.ever);
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

impl Ever {
    fn count(&mut self, end: End, took: Duration) {
        match end {
            End::Client | End::Cut => return,
            End::Answered(status) if status < 500 => {
                self.latencies.resize(usize::from(LAST_STEP) + 1, 0);
                self.latencies[usize::from(latency_step(u64::try_from(took.as_micros()).unwrap_or(LONGEST)))] += 1;
            }
            End::Answered(_) | End::Connect | End::Timeout | End::Broken => self.failed += 1,
        }
        self.judged += 1;
    }

    fn add(&mut self, other: &Self) {
        self.judged += other.judged;
        self.failed += other.failed;
        self.latencies.resize(self.latencies.len().max(other.latencies.len()), 0);
        for (own, more) in self.latencies.iter_mut().zip(&other.latencies) {
            *own += more;
        }
    }

    fn totals(&self) -> Totals {
        let occurred = (0..).zip(&self.latencies).filter(|(_, count)| **count > 0);
        Totals {
            judged: self.judged,
            failed: self.failed,
            latencies: occurred.map(|(step, count)| (step, *count)).collect(),
        }
    }
}

impl Tally {
    fn count(&mut self, end: End) {
        self.requests += 1;
        match end {
            End::Answered(status) => {
                let class = usize::from(status / 100).saturating_sub(1).min(CLASSES - 1);
                self.classes[class] += 1;
            }
            End::Connect => self.errors.connect += 1,
            End::Timeout => self.errors.timeout += 1,
            End::Broken => self.errors.broken += 1,
            End::Cut => self.errors.cut += 1,
            End::Client => self.errors.client += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors.connect += other.errors.connect;
        self.errors.timeout += other.errors.timeout;
        self.errors.broken += other.errors.broken;
        self.errors.cut += other.errors.cut;
        self.errors.client += other.errors.client;
        for (own, more) in self.classes.iter_mut().zip(other.classes) {
            *own += more;
        }
    }
}

/// Several windows together.
#[derive(Debug)]
pub struct Sum {
    tally: Tally,
    latencies: Option<Histogram<u64>>,
    ever: Ever,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            latencies: Histogram::new_with_bounds(1, LONGEST, DIGITS).ok(),
            ever: Ever::default(),
        }
    }
}

impl Sum {
    fn record(&mut self, micros: u64, count: u32) {
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record_n(micros, u64::from(count));
        }
    }

    /// In flight and streams are for the caller to say.
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
            total: self.ever.totals(),
            ..TargetStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_back_as_far_as_it_is_asked() {
        let mut window = Window::default();
        for second in 0..2_000 {
            window.record(second, End::Answered(200), Duration::from_millis(5));
            window.record(second, End::Answered(503), Duration::from_millis(50));
            window.record(second, End::Connect, Duration::from_millis(1));
        }
        assert!(window.past.len() <= WINDOW);
        let mut sum = Sum::default();
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
    fn what_the_visitor_or_a_drain_ended_is_not_judged() {
        let mut window = Window::default();
        for end in [End::Client, End::Cut, End::Broken, End::Answered(404)] {
            window.record(1, end, Duration::from_millis(1));
        }
        let mut sum = Sum::default();
        window.add_to(&mut sum, 0);
        assert_eq!((sum.stats().requests, sum.stats().total.judged, sum.stats().total.failed), (4, 2, 1));
    }
}
