//! Repeats a check until a timeout. Knows no driver.

use std::time::Duration;

use crate::effect::EffectError;
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::unless_cancelled;

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(20);

/// Measures the time of repeated checks.
pub(super) struct Poller<'a> {
    call: &'a Call,
    clock: &'a dyn Clock,
    started_ms: u64,
    timeout_ms: u64,
}

impl<'a> Poller<'a> {
    pub(super) fn new(call: &'a Call, clock: &'a dyn Clock, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self { call, clock, started_ms: clock.steady_ms(), timeout_ms }
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.clock.steady_ms().saturating_sub(self.started_ms)
    }

    /// Waits before the next check. Returns false when the time is up.
    ///
    /// # Errors
    /// `cancelled`.
    pub(super) async fn wait(&self) -> Result<bool, EffectError> {
        let Some(left) = self.timeout_ms.checked_sub(self.elapsed_ms()).filter(|left| *left > 0) else {
            return Ok(false);
        };
        let pause = async {
            self.clock.sleep(PAUSE.min(Duration::from_millis(left))).await;
            Ok(true)
        };
        unless_cancelled(self.call, pause).await
    }
}
