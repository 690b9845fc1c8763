//! Ends every effect in time, and an interruptible one soon after the run is cancelled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Layer, RequestContext};
use crate::base::duration_text::DurationText;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// How long a cancelled effect may take to end by itself before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(3);

/// Ends each effect at its deadline.
pub struct DeadlineLayer {
    next: Arc<dyn Layer>,
}

impl DeadlineLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>) -> Self {
        Self { next }
    }
}

impl Layer for DeadlineLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let deadline = effect.spec().deadline();
            let cancelled = async {
                context.call.cancel.cancelled().await;
                tokio::time::sleep(CANCEL_GRACE).await;
            };
            tokio::select! {
                biased;
                result = self.next.perform(context, effect) => result,
                () = cancelled => Err(EffectError::new(ErrorKind::Cancelled, format!("`{}` was cancelled", effect.kind()))),
                () = tokio::time::sleep(deadline) => Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("`{}` timed out after {}", effect.kind(), DurationText(deadline)),
                )),
            }
        })
    }
}
