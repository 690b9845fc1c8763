//! `load_test`: an open loop of requests over real connections. Knows how to send and to count, not what is good enough.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use reqwest::{Client, Method};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Services;
use super::http::{header_map, parse_url};
use super::http_clients::HttpClients;
use super::wait::{lost_thread, unless_cancelled};
use crate::effect::load::{LoadErrors, LoadReport, LoadTest};
use crate::effect::traffic::Latency;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// A machine that wakes up later than this for one request of a hundred does not keep up.
const LAG_MAX_MS: f64 = 20.0;
/// Micro seconds; what takes longer counts as this.
const LONGEST: u64 = 3_600_000_000;
/// Latencies are kept to three digits.
const DIGITS: u8 = 3;
/// Between two words of progress.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What all connections share.
struct Plan {
    client: Client,
    request: reqwest::Request,
    asked: LoadTest,
    planned: u64,
    start: Instant,
    /// From here on nothing more is sent.
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
enum End {
    Answered(u16),
    Connect,
    Timeout,
    Broken,
}

impl Services {
    pub(super) async fn load_test(&self, call: &Call, asked: &LoadTest) -> Result<LoadReport, EffectError> {
        let planned = asked.planned()?;
        let invalid = |why: String| EffectError::new(ErrorKind::Invalid, why).not_applied();
        let url = parse_url(&call.vault, &asked.url)?;
        let method = Method::from_bytes(asked.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| invalid(format!("`{}` is not an HTTP method", asked.method)))?;
        let connections = usize::try_from(asked.connections).unwrap_or(usize::MAX);
        let client = HttpClients::load(asked.keep_alive, connections, url.scheme() == "https")?;
        let mut request =
            client.request(method, url).headers(header_map(&call.vault, &asked.headers)?).timeout(asked.timeout.0);
        if let Some(body) = &asked.body {
            request = request.body(call.vault.reveal(body)?);
        }
        let request = request
            .build()
            .map_err(|_| invalid(format!("`{} {}` is not a request that can be sent", asked.method, asked.url)))?;
        let start = Instant::now();
        let plan = Arc::new(Plan {
            client,
            request,
            asked: asked.clone(),
            planned,
            start,
            end: start + asked.duration.0 + asked.timeout.0,
            next: AtomicU64::new(0),
            tally: Mutex::new(Tally::new()?),
        });
        // Dropped with this call, it takes the connections with it.
        let mut connected = JoinSet::new();
        for _ in 0..u64::from(asked.connections).min(planned) {
            connected.spawn(send_in_turn(Arc::clone(&plan)));
        }
        unless_cancelled(call, async {
            let mut ticks = interval(TELL_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    ended = connected.join_next() => match ended {
                        Some(result) => result.map_err(|error| lost_thread(&error))?,
                        None => return Ok(plan.report()),
                    },
                    _ = ticks.tick() => plan.tell(call),
                }
            }
        })
        .await
    }
}

/// One connection: takes the next request, waits for its instant, sends it, waits for the answer.
async fn send_in_turn(plan: Arc<Plan>) {
    loop {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.planned {
            return;
        }
        let meant = plan.start + Duration::from_secs_f64(number as f64 / plan.asked.rate);
        let late = meant < Instant::now();
        sleep_until(meant).await;
        let now = Instant::now();
        {
            let mut tally = plan.tally();
            if now >= plan.end {
                tally.errors.unsent += 1;
                tally.latency(now - meant);
                continue;
            }
            tally.sent += 1;
            if late {
                tally.late += 1;
            } else {
                tally.lags.saturating_record(micros(now - meant));
            }
        }
        let end = plan.send().await;
        plan.tally().count(&plan.asked, end, meant.elapsed());
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LONGEST)
}

impl Plan {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self) -> End {
        // The body is in memory, so that there is always another one.
        let Some(request) = self.request.try_clone() else { return End::Broken };
        let answer = async {
            let mut response = self.client.execute(request).await?;
            while response.chunk().await?.is_some() {}
            Ok(response.status().as_u16())
        };
        match answer.await {
            Ok(status) => End::Answered(status),
            Err(error) => class(&error),
        }
    }

    fn tell(&self, call: &Call) {
        let (answered, failed) = {
            let tally = self.tally();
            (tally.answered, tally.failed())
        };
        let fraction = self.start.elapsed().as_secs_f32() / self.asked.duration.0.as_secs_f32();
        call.tell_fraction(format!("{answered} of {} answered, {failed} failed", self.planned), fraction.min(1.0));
    }

    fn report(&self) -> LoadReport {
        let elapsed = self.start.elapsed();
        let tally = self.tally();
        let at = |latencies: &Histogram<u64>, quantile| latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        let of = &tally.latencies;
        let latency = Latency {
            p50_ms: at(of, 0.5),
            p90_ms: at(of, 0.9),
            p99_ms: at(of, 0.99),
            max_ms: of.max() as f64 / 1_000.0,
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
            rate: tally.answered as f64 / elapsed.max(self.asked.duration.0).as_secs_f64(),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            late: tally.late,
            lag_p99_ms,
            fell_behind: lag_p99_ms > LAG_MAX_MS,
        }
    }
}

fn class(error: &reqwest::Error) -> End {
    if error.is_timeout() {
        End::Timeout
    } else if error.is_connect() {
        End::Connect
    } else {
        End::Broken
    }
}

impl Tally {
    fn new() -> Result<Self, EffectError> {
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST, DIGITS)
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

    fn latency(&mut self, took: Duration) {
        self.latencies.saturating_record(micros(took));
    }

    fn count(&mut self, asked: &LoadTest, end: End, took: Duration) {
        match end {
            End::Answered(status) => {
                self.answered += 1;
                self.unexpected += u64::from(!asked.expects(status));
                *self.statuses.entry(format!("{}xx", status / 100)).or_default() += 1;
                self.latency(took);
            }
            End::Timeout => {
                self.errors.timeout += 1;
                self.latency(took);
            }
            // Quickly refused is not quickly answered.
            End::Connect => self.errors.connect += 1,
            End::Broken => self.errors.broken += 1,
        }
    }
}
