//! Answers what an interrupted run already did from its journal, and passes the rest on.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::redact::scrub_value;
use super::{Layer, RequestContext};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::journal::replay_cursor::{EffectReplay, interrupted_here};

/// Answers effects from the journal of the run.
pub struct ReplayLayer {
    next: Arc<dyn Layer>,
    ledger: Arc<Ledger>,
}

impl ReplayLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>, ledger: Arc<Ledger>) -> Self {
        Self { next, ledger }
    }
}

impl Layer for ReplayLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let Some(replay_cursor) = self.ledger.cursor_at(&context.call.seq) else {
                return self.next.perform(context, effect).await;
            };
            let mut args = effect.args();
            scrub_value(&context.call.vault, &mut args);
            let decode = |value| {
                Outcome::decode(effect.kind(), value).map_err(|error| {
                    let message = format!("the recorded outcome of `{}` cannot be read: {error}", effect.kind());
                    EffectError::new(ErrorKind::Internal, message).not_applied()
                })
            };
            match replay_cursor.effect(&context.call.seq, effect.kind(), &args)? {
                EffectReplay::New => self.next.perform(context, effect).await,
                EffectReplay::Done(value) => decode(value),
                // The check must pass again; the script still gets the recorded outcome.
                EffectReplay::CheckAgain(value) => {
                    let attempt = self.ledger.state().reopened;
                    let mut again = context.clone();
                    // The new check has its own position, so that the recorded entries keep theirs.
                    again.call.seq = context.call.seq.repeated_check(attempt);
                    self.next.perform(&again, effect).await.inspect_err(|_| replay_cursor.check_failed())?;
                    decode(value)
                }
                EffectReplay::Failed(error) => Err(error),
                EffectReplay::Ended => Err(interrupted_here()),
            }
        })
    }
}
