//! `load_test`: sends requests at a fixed rate over real connections and counts the answers. Judges no result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use reqwest::{Client, Method};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::clients::HttpClients;
use super::request::{header_map, parse_url};
use crate::effect::load::{LoadErrors, LoadReport, LoadTest};
use crate::effect::traffic::Latency;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::cancellation::{task_failed, unless_cancelled};

/// 99th percentile of the delay before sending, from which this machine does not keep up with the rate.
const LAG_MAX_MS: f64 = 20.0;
/// Longest latency that is told apart, in microseconds.
const MAX_LATENCY: u64 = 3_600_000_000;
/// Significant digits of recorded latencies.
const DIGITS: u8 = 3;
/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The state that all connections of a load test share.
struct LoadState {
    client: Client,
    request: reqwest::Request,
    test: LoadTest,
    planned: u64,
    start: Instant,
    /// Nothing is sent after this.
    end: Instant,
    next: AtomicU64,
    tally: Mutex<Tally>,
}

struct Tally {
    sent: u64,
    answered: u64,
    unexpected: u64,
    late: u64,
    errors: LoadErrors,
    statuses: BTreeMap<String, u64>,
    latencies: Histogram<u64>,
    lags: Histogram<u64>,
}

/// How a request ended.
enum RequestEnd {
    Answered(u16),
    Connect,
    Timeout,
    Broken,
}

pub(super) async fn load_test(call: &Call, test: &LoadTest) -> Result<LoadReport, EffectError> {
    let planned = test.planned()?;
    let invalid = |why: String| EffectError::new(ErrorKind::Invalid, why).not_applied();
    let url = parse_url(&call.vault, &test.url)?;
    let method = Method::from_bytes(test.method.to_ascii_uppercase().as_bytes())
        .map_err(|_| invalid(format!("`{}` is not an HTTP method", test.method)))?;
    let connections = usize::try_from(test.connections).unwrap_or(usize::MAX);
    let client = HttpClients::load(test.keep_alive, connections, url.scheme() == "https")?;
    let mut request =
        client.request(method, url).headers(header_map(&call.vault, &test.headers)?).timeout(test.timeout.0);
    if let Some(body) = &test.body {
        request = request.body(call.vault.reveal(body)?);
    }
    let request =
        request.build().map_err(|_| invalid(format!("`{} {}` is not a valid request", test.method, test.url)))?;
    let start = Instant::now();
    let state = Arc::new(LoadState {
        client,
        request,
        test: test.clone(),
        planned,
        start,
        end: start + test.duration.0 + test.timeout.0,
        next: AtomicU64::new(0),
        tally: Mutex::new(Tally::new()?),
    });
    // Dropping the set closes the connections.
    let mut workers = JoinSet::new();
    for _ in 0..u64::from(test.connections).min(planned) {
        workers.spawn(send_in_turn(Arc::clone(&state)));
    }
    unless_cancelled(call, async {
        let mut ticks = interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    Some(result) => result.map_err(|error| task_failed(&error))?,
                    None => return Ok(state.report()),
                },
                _ = ticks.tick() => state.report_progress(call),
            }
        }
    })
    .await
}

/// Runs one connection: takes the next request, waits until it is due, sends it, and waits for the answer.
async fn send_in_turn(state: Arc<LoadState>) {
    loop {
        let number = state.next.fetch_add(1, Ordering::Relaxed);
        if number >= state.planned {
            return;
        }
        let due = state.start + Duration::from_secs_f64(number as f64 / state.test.rate);
        let late = due < Instant::now();
        sleep_until(due).await;
        let now = Instant::now();
        {
            let mut tally = state.tally();
            if now >= state.end {
                tally.errors.unsent += 1;
                tally.record_latency(now - due);
                continue;
            }
            tally.sent += 1;
            if late {
                tally.late += 1;
            } else {
                tally.lags.saturating_record(micros(now - due));
            }
        }
        let end = state.send().await;
        state.tally().count(&state.test, end, due.elapsed());
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(MAX_LATENCY)
}

impl LoadState {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self) -> RequestEnd {
        // The body is in memory, so the request can always be cloned.
        let Some(request) = self.request.try_clone() else { return RequestEnd::Broken };
        let answer = async {
            let mut response = self.client.execute(request).await?;
            while response.chunk().await?.is_some() {}
            Ok(response.status().as_u16())
        };
        match answer.await {
            Ok(status) => RequestEnd::Answered(status),
            Err(error) => failure_kind(&error),
        }
    }

    fn report_progress(&self, call: &Call) {
        let (answered, failed) = {
            let tally = self.tally();
            (tally.answered, tally.failed())
        };
        let fraction = self.start.elapsed().as_secs_f32() / self.test.duration.0.as_secs_f32();
        call.report_progress_fraction(
            format!("{answered} of {} answered, {failed} failed", self.planned),
            fraction.min(1.0),
        );
    }

    fn report(&self) -> LoadReport {
        let elapsed = self.start.elapsed();
        let tally = self.tally();
        let at = |latencies: &Histogram<u64>, quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        let latencies = &tally.latencies;
        let latency = Latency {
            p50_ms: at(latencies, 0.5),
            p90_ms: at(latencies, 0.9),
            p99_ms: at(latencies, 0.99),
            max_ms: latencies.max() as f64 / 1_000.0,
        };
        let lag_p99_ms = at(&tally.lags, 0.99);
        LoadReport {
            planned: self.planned,
            sent: tally.sent,
            answered: tally.answered,
            failed: tally.failed(),
            error_rate: tally.failed() as f64 / self.planned as f64,
            errors: tally.errors,
            unexpected: tally.unexpected,
            statuses: tally.statuses.clone(),
            latency,
            rate: tally.answered as f64 / elapsed.max(self.test.duration.0).as_secs_f64(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            late: tally.late,
            lag_p99_ms,
            fell_behind: lag_p99_ms > LAG_MAX_MS,
        }
    }
}

fn failure_kind(error: &reqwest::Error) -> RequestEnd {
    if error.is_timeout() {
        RequestEnd::Timeout
    } else if error.is_connect() {
        RequestEnd::Connect
    } else {
        RequestEnd::Broken
    }
}

impl Tally {
    fn new() -> Result<Self, EffectError> {
        let histogram = || {
            Histogram::new_with_bounds(1, MAX_LATENCY, DIGITS)
                .map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()).not_applied())
        };
        Ok(Self {
            sent: 0,
            answered: 0,
            unexpected: 0,
            late: 0,
            errors: LoadErrors::default(),
            statuses: BTreeMap::new(),
            latencies: histogram()?,
            lags: histogram()?,
        })
    }

    fn failed(&self) -> u64 {
        self.errors.sum() + self.unexpected
    }

    fn record_latency(&mut self, took: Duration) {
        self.latencies.saturating_record(micros(took));
    }

    fn count(&mut self, test: &LoadTest, end: RequestEnd, took: Duration) {
        match end {
            RequestEnd::Answered(status) => {
                self.answered += 1;
                self.unexpected += u64::from(!test.expects(status));
                *self.statuses.entry(format!("{}xx", status / 100)).or_default() += 1;
                self.record_latency(took);
            }
            RequestEnd::Timeout => {
                self.errors.timeout += 1;
                self.record_latency(took);
            }
            // A refused connection has no latency: it would count as a fast answer.
            RequestEnd::Connect => self.errors.connect += 1,
            RequestEnd::Broken => self.errors.broken += 1,
        }
    }
}
