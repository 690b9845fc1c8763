//! A wait with a deadline, which ends when the call is cancelled.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::effect::EffectError;
use crate::world::Call;

/// A wait with a deadline.
pub(super) struct BoundedWait {
    deadline: Instant,
    cancel: CancellationToken,
}

impl BoundedWait {
    pub(super) fn until(call: &Call, timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, cancel: call.cancel.clone() }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Sleeps, at most until the deadline.
    ///
    /// # Errors
    /// Returns `cancelled` if the call is cancelled.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), EffectError> {
        let until = (Instant::now() + time).min(self.deadline);
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            () = self.cancel.cancelled() => Err(EffectError::cancelled()),
        }
    }
}
