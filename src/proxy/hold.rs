//! Holds new requests while an app is replaced that must not run twice. Limited in number and in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::state::HoldState;

/// How many of the requests that waited are forwarded at the same time: all at once, a small app would answer its health
/// check too late.
pub const RELEASED_AT_ONCE: usize = 64;

/// A hold, which is active until it is released or its time is up.
#[derive(Debug)]
pub struct Hold {
    pub state: HoldState,
    waiting: AtomicU64,
    turned_away: AtomicU64,
    released: CancellationToken,
    turns: Arc<Semaphore>,
}

/// How the wait of a request ended.
#[derive(Debug)]
pub enum HoldEnd {
    /// The request continues. It has one of the [`RELEASED_AT_ONCE`] places, unless it waited for one too long.
    Released(Option<OwnedSemaphorePermit>),
    /// The request gets a 503: too many requests wait, or it waited too long.
    TurnedAway,
}

/// Returns the milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

impl Hold {
    pub fn new(state: HoldState) -> Self {
        Self {
            state,
            waiting: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            released: CancellationToken::new(),
            turns: Arc::new(Semaphore::new(RELEASED_AT_ONCE)),
        }
    }

    /// Returns whether new requests must wait.
    pub fn is_active(&self) -> bool {
        !self.released.is_cancelled() && self.state.is_active(now_ms())
    }

    /// Waits until the hold ends.
    pub async fn wait(&self) -> HoldEnd {
        let left = self.state.until_ms.saturating_sub(now_ms());
        if left == 0 && !self.state.until_released {
            return HoldEnd::Released(None);
        }
        let guard = WaitingGuard::new(self);
        if self.waiting.load(Ordering::Acquire) > self.state.max_requests {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return HoldEnd::TurnedAway;
        }
        let released = tokio::time::timeout(Duration::from_millis(left), self.released.cancelled()).await;
        drop(guard);
        if released.is_ok() {
            let turn = tokio::time::timeout(self.state.max_wait.0, Arc::clone(&self.turns).acquire_owned()).await;
            return HoldEnd::Released(turn.ok().and_then(Result::ok));
        }
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        HoldEnd::TurnedAway
    }

    /// Lets all waiting requests continue.
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

/// Counts a waiting request until it is dropped.
struct WaitingGuard<'a>(&'a Hold);

impl<'a> WaitingGuard<'a> {
    fn new(hold: &'a Hold) -> Self {
        hold.waiting.fetch_add(1, Ordering::AcqRel);
        Self(hold)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
