//! Tries again what had a passing fault, where doing it twice is safe.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Door, Ticket};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome, Recovery};
use crate::world::clock::Clock;

/// Pauses before the second and the third try; there is no fourth.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

pub struct Retry {
    next: Arc<dyn Door>,
    clock: Arc<dyn Clock>,
}

impl Retry {
    pub fn new(next: Arc<dyn Door>, clock: Arc<dyn Clock>) -> Self {
        Self { next, clock }
    }
}

impl Door for Retry {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            for pause in PAUSES {
                match self.next.perform(ticket, effect).await {
                    Err(error)
                        if error.kind == ErrorKind::Unavailable
                            && effect.facts().recovery() == Recovery::Repeat
                            && !ticket.call.cancel.is_cancelled() =>
                    {
                        ticket.call.tell(format!("{error}; trying again"));
                        self.clock.sleep(pause).await;
                    }
                    result => return result,
                }
            }
            self.next.perform(ticket, effect).await
        })
    }
}
