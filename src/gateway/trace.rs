//! A span around every effect, named by its kind.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::{Door, Ticket};
use crate::effect::{Effect, EffectError, Outcome};

pub struct Trace {
    next: Arc<dyn Door>,
}

impl Trace {
    pub fn new(next: Arc<dyn Door>) -> Self {
        Self { next }
    }
}

impl Door for Trace {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        let span = tracing::info_span!("effect", kind = effect.kind(), seq = %ticket.call.seq, run = %ticket.call.run);
        Box::pin(
            async move {
                let result = self.next.perform(ticket, effect).await;
                match &result {
                    Ok(_) => tracing::debug!("done"),
                    Err(error) => tracing::debug!(kind = %error.kind, "failed"),
                }
                result
            }
            .instrument(span),
        )
    }
}
