//! Waits that end when the call is cancelled or its time is up. Knows no effect.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::task::JoinError;

use crate::base::duration_text::DurationText;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Runs `work`, or stops with `cancelled` as soon as the call is cancelled.
pub(crate) async fn unless_cancelled<T>(
    call: &Call,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        biased;
        () = call.cancel.cancelled() => Err(cancelled()),
        done = work => done,
    }
}

/// Like [`unless_cancelled`], but also stops after `timeout`. `timed_out` then makes the error.
pub(crate) async fn with_timeout<T>(
    call: &Call,
    clock: &dyn Clock,
    timeout: Duration,
    timed_out: impl FnOnce() -> EffectError,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        biased;
        () = call.cancel.cancelled() => Err(cancelled()),
        done = work => done,
        () = clock.sleep(timeout) => Err(timed_out()),
    }
}

/// Like [`with_timeout`], with an error that says that work on `subject` timed out.
pub(crate) async fn time_limited<T>(
    call: &Call,
    clock: &dyn Clock,
    subject: &impl Display,
    timeout: DurationText,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    let timed_out = || EffectError::timed_out(&format!("`{subject}`"), timeout);
    with_timeout(call, clock, timeout.0, timed_out, work).await
}

/// Runs blocking work on a thread of its own. Dropping the future does not stop the work.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(task_failed(&error)))
}

/// The error of work that was cancelled before it ended.
pub(crate) fn cancelled() -> EffectError {
    EffectError::cancelled()
}

/// The error of a task that panicked or was aborted.
pub(crate) fn task_failed(error: &JoinError) -> EffectError {
    EffectError::new(ErrorKind::Internal, format!("a worker thread failed: {error}"))
}
