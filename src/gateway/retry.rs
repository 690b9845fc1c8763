//! Repeats effects that failed with a transient fault, where repeating is safe. What an earlier attempt may have done is
//! not forgotten when a later one is sure that it did nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Layer, RequestContext};
use crate::effect::{Applied, Effect, EffectError, ErrorKind, Outcome, Recovery};
use crate::world::clock::Clock;

/// Pauses before the second and the third attempt; there is no fourth.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Repeats an effect after a transient fault.
pub struct RetryLayer {
    next: Arc<dyn Layer>,
    clock: Arc<dyn Clock>,
}

impl RetryLayer {
    /// Wraps `next`; `clock` measures the pauses.
    pub fn new(next: Arc<dyn Layer>, clock: Arc<dyn Clock>) -> Self {
        Self { next, clock }
    }
}

impl Layer for RetryLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let mut pauses = PAUSES.into_iter();
            let mut applied = Applied::No;
            loop {
                let error = match self.next.perform(context, effect).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(error) => error,
                };
                if error.applied == Applied::Unknown {
                    applied = Applied::Unknown;
                }
                let is_repeatable = error.kind == ErrorKind::Unavailable
                    && effect.spec().recovery() == Recovery::Repeat
                    && !context.call.cancel.is_cancelled();
                match pauses.next().filter(|_| is_repeatable) {
                    Some(pause) => {
                        context.call.report_progress(format!("{error}; trying again"));
                        self.clock.sleep(pause).await;
                    }
                    None => return Err(EffectError { applied, ..error }),
                }
            }
        })
    }
}
