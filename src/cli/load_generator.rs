//! Sends requests to the demo app at a constant rate, and measures the responses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::world::clock::{Clock, SystemClock};

/// The time between two requests: 50 new connections a second.
const REQUEST_INTERVAL: Duration = Duration::from_millis(20);
/// A request that takes longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The results so far.
#[derive(Clone, Debug, Default)]
pub struct LoadStats {
    pub requests: u64,
    pub failures: u64,
    pub slowest_ms: u64,
    /// The longest time without a successful response.
    pub longest_gap_ms: u64,
    /// Successful responses by version.
    pub versions: BTreeMap<String, u64>,
}

/// Sends requests until it is stopped. Each uses a new connection, and none waits for an earlier one.
pub struct LoadGenerator {
    stats: Arc<Mutex<LoadStats>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl LoadGenerator {
    pub fn start(url: String) -> Self {
        let stats = Arc::new(Mutex::new(LoadStats::default()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(send_requests(url, stats.clone(), stop.clone()));
        Self { stats, stop, task }
    }

    /// Returns the results so far.
    pub fn stats(&self) -> LoadStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops, and waits for the responses to open requests.
    pub async fn stop(self) -> LoadStats {
        self.stop.cancel();
        drop(self.task.await);
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn send_requests(url: String, stats: Arc<Mutex<LoadStats>>, stop: CancellationToken) {
    // TLS is not used here, but the builder needs a provider.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(REQUEST_TIMEOUT).no_proxy().build();
    let Ok(client) = client else { return };
    let clock = Arc::new(SystemClock::default());
    let last_good = Arc::new(Mutex::new(None::<u64>));
    let mut ticks = tokio::time::interval(REQUEST_INTERVAL);
    let mut open = tokio::task::JoinSet::new();
    while !stop.is_cancelled() {
        ticks.tick().await;
        let (client, url, stats, clock, last_good) =
            (client.clone(), url.clone(), stats.clone(), clock.clone(), last_good.clone());
        open.spawn(async move {
            let start = clock.steady_ms();
            let answer = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => answer.text().await.ok(),
                _ => None,
            };
            let end = clock.steady_ms();
            let mut stats = stats.lock().unwrap_or_else(PoisonError::into_inner);
            stats.requests += 1;
            stats.slowest_ms = stats.slowest_ms.max(end - start);
            match answer {
                Some(version) => {
                    *stats.versions.entry(version).or_default() += 1;
                    let mut last = last_good.lock().unwrap_or_else(PoisonError::into_inner);
                    let gap = last.map_or(0, |last| end.saturating_sub(last));
                    stats.longest_gap_ms = stats.longest_gap_ms.max(gap);
                    *last = Some(end);
                }
                None => stats.failures += 1,
            }
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}
