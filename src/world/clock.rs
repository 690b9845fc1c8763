//! The clock of a world.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

/// A real or simulated clock.
pub trait Clock: Send + Sync {
    /// Returns the milliseconds since 1970, UTC.
    fn unix_ms(&self) -> i64;

    /// Returns the milliseconds since a fixed instant. Never goes back.
    fn steady_ms(&self) -> u64;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn unix_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn steady_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Creates the timer at the first poll, because the caller may not be on the runtime yet.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}
