//! `sleep` and `now`, by the world's clock.

use super::Services;
use super::wait::unless_cancelled;
use crate::effect::time::{Instant, TimeEffect, TimeOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl Services {
    pub(super) async fn time(&self, call: &Call, effect: &TimeEffect) -> Result<TimeOutcome, EffectError> {
        match effect {
            TimeEffect::Sleep(request) => {
                let nap = self.clock.sleep(request.duration.0);
                unless_cancelled(call, async {
                    nap.await;
                    Ok(TimeOutcome::Sleep(()))
                })
                .await
            }
            TimeEffect::Now(_) => {
                let unix_ms = self.clock.unix_ms();
                let instant = jiff::Timestamp::from_millisecond(unix_ms)
                    .map_err(|error| EffectError::new(ErrorKind::Internal, format!("the clock is off: {error}")))?;
                Ok(TimeOutcome::Now(Instant { unix_ms, text: instant.to_string() }))
            }
        }
    }
}
