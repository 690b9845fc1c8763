//! Looking again and again, for a bounded time, until something has come true. Knows no driver.

use std::time::Duration;

use super::super::wait::unless_cancelled;
use crate::effect::EffectError;
use crate::world::Call;
use crate::world::clock::Clock;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Patience<'a> {
    call: &'a Call,
    clock: &'a dyn Clock,
    begun: u64,
    lasts: u64,
}

impl<'a> Patience<'a> {
    pub(super) fn new(call: &'a Call, clock: &'a dyn Clock, lasts: Duration) -> Self {
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        Self { call, clock, begun: clock.steady_ms(), lasts }
    }

    pub(super) fn waited_ms(&self) -> u64 {
        self.clock.steady_ms().saturating_sub(self.begun)
    }

    /// Lets some time pass before the next look; false when there is none left.
    ///
    /// # Errors
    /// `cancelled`.
    pub(super) async fn pause(&self) -> Result<bool, EffectError> {
        let Some(left) = self.lasts.checked_sub(self.waited_ms()).filter(|left| *left > 0) else { return Ok(false) };
        let pause = async {
            self.clock.sleep(PAUSE.min(Duration::from_millis(left))).await;
            Ok(true)
        };
        unless_cancelled(self.call, pause).await
    }
}
