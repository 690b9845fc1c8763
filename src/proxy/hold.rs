//! New requests wait here while an app is replaced that must not run twice: bounded in number and in time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::state::HoldState;

/// A hold that is in force, or was.
#[derive(Debug)]
pub struct Hold {
    pub state: HoldState,
    waiting: AtomicU64,
    turned_away: AtomicU64,
    released: CancellationToken,
}

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    GoOn,
    /// Ask again later: too many wait, or it took too long.
    TurnedAway,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

impl Hold {
    pub fn new(state: HoldState) -> Self {
        Self { state, waiting: AtomicU64::new(0), turned_away: AtomicU64::new(0), released: CancellationToken::new() }
    }

    pub fn in_force(&self) -> bool {
        !self.released.is_cancelled() && now_ms() < self.state.until_ms
    }

    pub async fn wait(&self) -> Wait {
        let Some(left) = self.state.until_ms.checked_sub(now_ms()) else { return Wait::GoOn };
        let place = Place::take(self);
        if self.waiting.load(Ordering::Acquire) > self.state.max_requests {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Wait::TurnedAway;
        }
        let released = tokio::time::timeout(Duration::from_millis(left), self.released.cancelled()).await;
        drop(place);
        if released.is_ok() {
            return Wait::GoOn;
        }
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        Wait::TurnedAway
    }

    /// Lets all go on.
    pub fn release(&self) {
        self.released.cancel();
    }

    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }
}

/// Counted out however the wait ends.
struct Place<'a>(&'a Hold);

impl<'a> Place<'a> {
    fn take(hold: &'a Hold) -> Self {
        hold.waiting.fetch_add(1, Ordering::AcqRel);
        Self(hold)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
