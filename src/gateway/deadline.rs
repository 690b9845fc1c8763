//! Ends every effect in time, and what may be left half-way at once when the run is cancelled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Door, Ticket};
use crate::base::duration_text::DurationText;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// How long a cancelled effect may take to end by itself before it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(3);

pub struct Deadline {
    next: Arc<dyn Door>,
}

impl Deadline {
    pub fn new(next: Arc<dyn Door>) -> Self {
        Self { next }
    }
}

impl Door for Deadline {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let patience = effect.facts().patience();
            let cancelled = async {
                ticket.call.cancel.cancelled().await;
                tokio::time::sleep(CANCEL_GRACE).await;
            };
            tokio::select! {
                biased;
                result = self.next.perform(ticket, effect) => result,
                () = cancelled => Err(EffectError::new(ErrorKind::Cancelled, format!("`{}` was cancelled", effect.kind()))),
                () = tokio::time::sleep(patience) => Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("`{}` did not end within {}", effect.kind(), DurationText(patience)),
                )),
            }
        })
    }
}
