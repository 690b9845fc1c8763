//! Answers what a killed run had done already from its journal, and lets the rest through.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::redact::scrub_value;
use super::{Door, Ticket};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::journal::past::Answer;

pub struct Replay {
    next: Arc<dyn Door>,
    ledger: Arc<Ledger>,
}

impl Replay {
    pub fn new(next: Arc<dyn Door>, ledger: Arc<Ledger>) -> Self {
        Self { next, ledger }
    }
}

/// A run that is only read again has come to where it was stopped.
pub fn ended() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "the run was stopped here").not_applied()
}

impl Door for Replay {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let Some(past) = self.ledger.past() else { return self.next.perform(ticket, effect).await };
            let mut args = effect.args();
            scrub_value(&ticket.call.vault, &mut args);
            let decode = |value| {
                Outcome::decode(effect.kind(), value).map_err(|error| {
                    let message = format!("the journal's answer to `{}` cannot be read: {error}", effect.kind());
                    EffectError::new(ErrorKind::Internal, message).not_applied()
                })
            };
            match past.effect(&ticket.call.seq, effect.kind(), &args)? {
                Answer::New => self.next.perform(ticket, effect).await,
                Answer::Done(value) => decode(value),
                // That it is well now is the answer; what the script was told the first time stays.
                Answer::AskAgain(value) => {
                    let attempt = self.ledger.state().reopened;
                    let mut again = ticket.clone();
                    // What the first answer led to stays at its place.
                    again.call.seq = ticket.call.seq.asked_again(attempt);
                    self.next.perform(&again, effect).await.inspect_err(|_| past.is_unwell())?;
                    decode(value)
                }
                Answer::Failed(error) => Err(error),
                Answer::Ended => Err(ended()),
            }
        })
    }
}
