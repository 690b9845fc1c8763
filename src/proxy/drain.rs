//! Waits until a target has no more requests, cuts the remaining ones at the deadline, and reports how many were cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::command::Refusal;
use super::shared::Shared;
use super::upstream::Upstream;
use crate::effect::traffic::Drained;

/// How often the counters are read.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// How long a drain waits, counted from its start.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    requests: Duration,
    streams: Duration,
}

impl Deadlines {
    /// Streams get at least as long as requests, and the same time by default.
    pub fn new(requests: Duration, streams: Option<Duration>) -> Self {
        Self { requests, streams: streams.unwrap_or(requests).max(requests) }
    }
}

/// Waits for the requests and streams of `upstream` to end, and cuts those that are still open at the deadlines.
///
/// # Errors
/// When the target receives new requests again in the meantime.
pub async fn drain(
    shared: &Shared,
    service: &str,
    upstream: &Arc<Upstream>,
    deadlines: Deadlines,
) -> Result<Drained, Refusal> {
    let begun = Instant::now();
    let mut drained = Drained { waited_ms: 0, requests_cut: 0, streams_cut: 0 };
    if !wait_until_idle(shared, service, upstream, begun + deadlines.requests, Upstream::in_flight).await? {
        drained.requests_cut = upstream.cut_requests();
    }
    if !wait_until_idle(shared, service, upstream, begun + deadlines.streams, Upstream::streams).await? {
        drained.streams_cut = upstream.cut_streams();
    }
    drained.waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(drained)
}

/// Returns whether `count` reached zero before `until`.
async fn wait_until_idle(
    shared: &Shared,
    service: &str,
    upstream: &Arc<Upstream>,
    until: Instant,
    count: fn(&Upstream) -> u64,
) -> Result<bool, Refusal> {
    while count(upstream) > 0 {
        if Instant::now() >= until {
            return Ok(false);
        }
        if receives_requests(shared, service, upstream) {
            let message = format!("drain of `{}` stopped: the target receives requests again", upstream.name);
            return Err(Refusal::conflict(message));
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(true)
}

fn receives_requests(shared: &Shared, service: &str, upstream: &Arc<Upstream>) -> bool {
    shared.table().services.get(service).is_some_and(|service| {
        service.with_balancer(|balancer| {
            balancer
                .candidates
                .iter()
                .any(|candidate| Arc::ptr_eq(&candidate.upstream, upstream) && !candidate.draining)
        })
    })
}
