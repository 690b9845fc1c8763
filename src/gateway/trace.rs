//! A span around every effect, named by its kind.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::{Layer, RequestContext};
use crate::effect::{Effect, EffectError, Outcome};

/// Opens a span around each effect.
pub struct TraceLayer {
    next: Arc<dyn Layer>,
}

impl TraceLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>) -> Self {
        Self { next }
    }
}

impl Layer for TraceLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        let span =
            tracing::info_span!("effect", kind = effect.kind(), seq = %context.call.seq, run = %context.call.run);
        Box::pin(
            async move {
                let result = self.next.perform(context, effect).await;
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
