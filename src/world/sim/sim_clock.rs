//! Virtual time: a sleep takes no real time and advances the clock. Knows nothing of the simulated host.
//!
//! A sleep takes effect when it is polled. Code that races an effect against a deadline must poll the effect first
//! (`biased`): the effect completes at its first poll, and the deadline is never reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::world::clock::Clock;

/// The simulated counterpart of `SystemClock`. Time passes only during sleeps and effects; the time of day can be set
/// back. Sleeps of parallel branches add up.
#[derive(Debug)]
pub struct SimClock {
    start_unix_ms: AtomicI64,
    elapsed_ms: Arc<AtomicU64>,
}

impl SimClock {
    /// Returns a clock that starts at this time, in milliseconds since 1970, UTC.
    pub fn starting_at(start_unix_ms: i64) -> Self {
        Self { start_unix_ms: AtomicI64::new(start_unix_ms), elapsed_ms: Arc::default() }
    }

    /// Returns a separate clock that shows the same time.
    pub(super) fn fork(&self) -> Self {
        let fork = Self::starting_at(self.start_unix_ms.load(Ordering::Relaxed));
        fork.advance_to(self.steady_ms());
        fork
    }

    /// Advances the clock.
    pub fn advance(&self, duration: Duration) {
        self.elapsed_ms.fetch_add(whole_ms(duration), Ordering::Relaxed);
    }

    /// Sets the time of day back, as an operator does who sets the machine's clock. [`Clock::steady_ms`] is not
    /// affected.
    pub fn set_clock_back(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.start_unix_ms.fetch_sub(ms, Ordering::Relaxed);
    }

    /// Advances the clock to a time of [`Clock::steady_ms`]. A past time changes nothing.
    pub(super) fn advance_to(&self, steady_ms: u64) {
        self.elapsed_ms.fetch_max(steady_ms, Ordering::Relaxed);
    }

    /// Returns a time of [`Clock::steady_ms`] as RFC 3339, UTC.
    pub(super) fn text(&self, steady_ms: u64) -> String {
        jiff::Timestamp::from_millisecond(self.unix_at(steady_ms))
            .map(|instant| instant.to_string())
            .unwrap_or_default()
    }

    fn unix_at(&self, steady_ms: u64) -> i64 {
        self.start_unix_ms.load(Ordering::Relaxed).saturating_add_unsigned(steady_ms)
    }
}

/// Returns the duration in milliseconds, rounded up, so that even the shortest wait advances the clock.
pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX / 2)
}

impl Clock for SimClock {
    fn unix_ms(&self) -> i64 {
        self.unix_at(self.steady_ms())
    }

    fn steady_ms(&self) -> u64 {
        self.elapsed_ms.load(Ordering::Relaxed)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let elapsed = Arc::clone(&self.elapsed_ms);
        Box::pin(async move {
            elapsed.fetch_add(whole_ms(duration), Ordering::Relaxed);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_sleep_takes_virtual_time_only_once_polled() {
        let clock = SimClock::starting_at(1_000);
        let sleep = clock.sleep(Duration::from_secs(3600));
        assert_eq!(clock.steady_ms(), 0);
        assert_eq!(sleep.now_or_never(), Some(()));
        assert_eq!((clock.steady_ms(), clock.unix_ms()), (3_600_000, 3_601_000));
        assert_eq!(clock.text(0), "1970-01-01T00:00:01Z");
    }
}
