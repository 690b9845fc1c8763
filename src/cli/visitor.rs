//! Somebody who visits the demo app all the time, and what they notice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::world::clock::{Clock, SystemClock};

/// Pause between two requests: 50 new connections a second.
const PAUSE: Duration = Duration::from_millis(20);
/// A visitor who waits longer counts the request as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a visitor noticed.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    pub requests: u64,
    pub failures: u64,
    pub slowest_ms: u64,
    /// The longest time without a good answer.
    pub longest_gap_ms: u64,
    /// Answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
}

/// Visits `url` until `stop`; each request is a new connection, and none waits for the one before.
pub struct Visitor {
    noticed: Arc<Mutex<Noticed>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Visitor {
    pub fn start(url: String) -> Self {
        let noticed = Arc::new(Mutex::new(Noticed::default()));
        let stop = CancellationToken::new();
        let task = tokio::spawn(visit(url, noticed.clone(), stop.clone()));
        Self { noticed, stop, task }
    }

    /// What was noticed so far.
    pub fn noticed(&self) -> Noticed {
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the visits and waits for the answers that are on their way.
    pub async fn end(self) -> Noticed {
        self.stop.cancel();
        drop(self.task.await);
        self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn visit(url: String, noticed: Arc<Mutex<Noticed>>, stop: CancellationToken) {
    // TLS is not used here; the builder wants a provider all the same.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(PATIENCE).no_proxy().build();
    let Ok(client) = client else { return };
    let clock = Arc::new(SystemClock::default());
    let last_good = Arc::new(Mutex::new(None::<u64>));
    let mut ticks = tokio::time::interval(PAUSE);
    let mut open = tokio::task::JoinSet::new();
    while !stop.is_cancelled() {
        ticks.tick().await;
        let (client, url, noticed, clock, last_good) =
            (client.clone(), url.clone(), noticed.clone(), clock.clone(), last_good.clone());
        open.spawn(async move {
            let start = clock.steady_ms();
            let answer = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => answer.text().await.ok(),
                _ => None,
            };
            let end = clock.steady_ms();
            let mut noticed = noticed.lock().unwrap_or_else(PoisonError::into_inner);
            noticed.requests += 1;
            noticed.slowest_ms = noticed.slowest_ms.max(end - start);
            match answer {
                Some(version) => {
                    *noticed.versions.entry(version).or_default() += 1;
                    let mut last = last_good.lock().unwrap_or_else(PoisonError::into_inner);
                    let gap = last.map_or(0, |last| end.saturating_sub(last));
                    noticed.longest_gap_ms = noticed.longest_gap_ms.max(gap);
                    *last = Some(end);
                }
                None => noticed.failures += 1,
            }
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}
