//! Notices that a counter stands still.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

/// Returns once the counter has not changed for the whole `limit`. Looks once in that time, so it may take twice as long.
pub async fn idle(count: &AtomicU64, limit: Duration) {
    let mut previous = None;
    loop {
        let now = count.load(Ordering::Relaxed);
        if previous == Some(now) {
            return;
        }
        previous = Some(now);
        sleep(limit).await;
    }
}
