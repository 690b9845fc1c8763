//! Waits that end when the call is cancelled or its time is over. Knows no effect.

use std::future::Future;
use std::time::Duration;

use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// `work`, unless the call is cancelled first.
pub(super) async fn unless_cancelled<T>(
    call: &Call,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        biased;
        () = call.cancel.cancelled() => Err(cancelled()),
        done = work => done,
    }
}

/// `work`, unless the call is cancelled or `timeout` passes first; then `late` says what was not done in time.
pub(super) async fn within<T>(
    call: &Call,
    clock: &dyn Clock,
    timeout: Duration,
    late: impl FnOnce() -> EffectError,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        biased;
        () = call.cancel.cancelled() => Err(cancelled()),
        done = work => done,
        () = clock.sleep(timeout) => Err(late()),
    }
}

pub(super) fn cancelled() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "cancelled while it was under way")
}

/// The error of a thread of blocking work that panicked.
pub(super) fn lost_thread(error: &tokio::task::JoinError) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("a worker thread was lost: {error}"))
}
