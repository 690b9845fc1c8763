//! A bounded wait that a cancelled call ends.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

pub(super) struct Waiting {
    deadline: Instant,
    cancel: CancellationToken,
}

impl Waiting {
    pub(super) fn until(call: &Call, timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, cancel: call.cancel.clone() }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Sleeps, at most to the deadline.
    ///
    /// # Errors
    /// `cancelled` when the call is cancelled meanwhile.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), EffectError> {
        let until = (Instant::now() + time).min(self.deadline);
        tokio::select! {
            () = tokio::time::sleep_until(until) => Ok(()),
            () = self.cancel.cancelled() => Err(EffectError::new(ErrorKind::Cancelled, "cancelled while waiting")),
        }
    }
}
