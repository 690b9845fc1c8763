//! `sleep` and `now`, by the world's clock.

use std::sync::Arc;

use super::cancellation::unless_cancelled;
use crate::effect::time::{Instant, TimeEffect, TimeOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Performs `sleep` and `now`.
pub(crate) struct TimeService {
    clock: Arc<dyn Clock>,
}

impl TimeService {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &TimeEffect) -> Result<TimeOutcome, EffectError> {
        match effect {
            TimeEffect::Sleep(request) => {
                let sleep = self.clock.sleep(request.duration.0);
                unless_cancelled(call, async {
                    sleep.await;
                    Ok(TimeOutcome::Sleep(()))
                })
                .await
            }
            TimeEffect::Now(_) => {
                let unix_ms = self.clock.unix_ms();
                let instant = jiff::Timestamp::from_millisecond(unix_ms).map_err(|error| {
                    EffectError::new(ErrorKind::Internal, format!("the clock is out of range: {error}"))
                })?;
                Ok(TimeOutcome::Now(Instant { unix_ms, text: instant.to_string() }))
            }
        }
    }
}
