//! Waits until a target has no more requests, cuts those that are left at the deadline, and says how many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::command::{Command, Refusal};
use super::steering::Steering;
use super::upstream::Upstream;
use crate::effect::traffic::Drained;

/// Between two looks at the counts.
const LOOK: Duration = Duration::from_millis(2);

/// # Errors
/// When the target got requests again meanwhile.
pub async fn drain(steering: &Steering, command: &Command, service: &str, target: &str) -> Result<Drained, Refusal> {
    let Command::Drain { deadline, streams_deadline, .. } = command else {
        return Err(Refusal::invalid("this is no drain"));
    };
    let upstream = steering.drained(service, target).await?;
    let begun = Instant::now();
    let streams_deadline = streams_deadline.unwrap_or(*deadline).0.max(deadline.0);
    let mut drained = Drained { waited_ms: 0, requests_cut: 0, streams_cut: 0 };
    if !wait(steering, service, &upstream, begun, deadline.0, Upstream::in_flight).await? {
        drained.requests_cut = upstream.cut_requests();
    }
    if !wait(steering, service, &upstream, begun, streams_deadline, Upstream::streams).await? {
        drained.streams_cut = upstream.cut_streams();
    }
    drained.waited_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(drained)
}

/// Says whether nothing is left.
async fn wait(
    steering: &Steering,
    service: &str,
    upstream: &Arc<Upstream>,
    begun: Instant,
    deadline: Duration,
    left: fn(&Upstream) -> u64,
) -> Result<bool, Refusal> {
    while left(upstream) > 0 {
        if begun.elapsed() >= deadline {
            return Ok(false);
        }
        if let Some(service) = steering.shared.table().services.get(service) {
            let back = service.with_plan(|plan| {
                plan.entries.iter().any(|entry| Arc::ptr_eq(&entry.upstream, upstream) && !entry.draining)
            });
            if back {
                let message = format!("`{}` gets requests again: the drain was given up", upstream.name);
                return Err(Refusal::conflict(message));
            }
        }
        sleep(LOOK).await;
    }
    Ok(true)
}
