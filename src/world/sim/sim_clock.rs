//! Virtual time: a sleep takes no real time and moves the clock forward. Knows nothing of the host that lives by it.
//!
//! A sleep counts from the moment it is polled. Who races an effect against a deadline must poll the effect first
//! (`biased`): the effect is done at its first poll and the deadline is never reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::world::clock::Clock;

/// The twin of `SystemClock`. Time passes only when somebody waits or works; the time of day can be turned back.
/// Sleeps of parallel branches follow each other.
#[derive(Debug)]
pub struct SimClock {
    start_unix_ms: AtomicI64,
    elapsed_ms: Arc<AtomicU64>,
}

impl SimClock {
    pub fn starting_at(start_unix_ms: i64) -> Self {
        Self { start_unix_ms: AtomicI64::new(start_unix_ms), elapsed_ms: Arc::default() }
    }

    /// Another clock that shows the same now, and goes on by itself.
    pub(super) fn fork(&self) -> Self {
        let fork = Self::starting_at(self.start_unix_ms.load(Ordering::Relaxed));
        fork.advance_to(self.steady_ms());
        fork
    }

    /// Lets time pass at once.
    pub fn advance(&self, duration: Duration) {
        self.elapsed_ms.fetch_add(whole_ms(duration), Ordering::Relaxed);
    }

    /// Turns the time of day back, as somebody does who sets the machine's clock; [`Clock::steady_ms`] goes on.
    pub fn turn_back(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.start_unix_ms.fetch_sub(ms, Ordering::Relaxed);
    }

    /// Moves on to an instant of [`Clock::steady_ms`]; one that has passed changes nothing.
    pub(super) fn advance_to(&self, steady_ms: u64) {
        self.elapsed_ms.fetch_max(steady_ms, Ordering::Relaxed);
    }

    /// RFC 3339, UTC, of an instant of [`Clock::steady_ms`].
    pub(super) fn text(&self, steady_ms: u64) -> String {
        jiff::Timestamp::from_millisecond(self.unix_at(steady_ms))
            .map(|instant| instant.to_string())
            .unwrap_or_default()
    }

    fn unix_at(&self, steady_ms: u64) -> i64 {
        self.start_unix_ms.load(Ordering::Relaxed).saturating_add_unsigned(steady_ms)
    }
}

/// A wait shorter than a millisecond still lets time pass.
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
