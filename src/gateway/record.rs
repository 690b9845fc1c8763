//! Writes the intent down before an effect and its outcome after it. No journal, no effect.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::ledger::Ledger;
use super::{Door, Ticket};
use crate::effect::{Access, Applied, Effect, EffectError, ErrorKind, Outcome, Undo};
use crate::journal::Durability;
use crate::journal::entry::{Entry, Intent, UndoRecord};
use crate::world::clock::Clock;

pub struct Record {
    next: Arc<dyn Door>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
}

impl Record {
    pub fn new(next: Arc<dyn Door>, ledger: Arc<Ledger>, clock: Arc<dyn Clock>) -> Self {
        Self { next, ledger, clock }
    }

    /// The undo is found before the effect, from the state before: it must be on disk when the effect begins.
    async fn undo(&self, ticket: &Ticket, effect: &Effect) -> Result<Undo, EffectError> {
        // Nothing that is done while taking back is itself taken back.
        if effect.facts().access() == Access::Read || self.ledger.state().unwinding {
            return Ok(Undo::Nothing);
        }
        let prior = match effect.facts().prior() {
            Some(read) => Some(self.next.perform(ticket, &read).await.map_err(EffectError::not_applied)?),
            None => None,
        };
        Ok(effect.facts().undo(prior.as_ref()))
    }
}

impl Door for Record {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let facts = effect.facts();
            let seq = ticket.call.seq.clone();
            let durability = match facts.access() {
                Access::Read => Durability::Process,
                Access::Write => Durability::Power,
            };
            let start = self.clock.steady_ms();
            let (undo, refused) = match self.undo(ticket, effect).await {
                Ok(undo) => (undo, None),
                Err(error) => (Undo::Nothing, Some(error)),
            };
            let intent = Intent {
                seq: seq.clone(),
                kind: effect.kind().into(),
                subject: facts.subject(),
                args: effect.args(),
                access: facts.access().into(),
                recovery: facts.recovery().into(),
                undo: UndoRecord::new(undo, &ticket.call.run),
                site: ticket.site.clone(),
                undoes: ticket.undoes.clone(),
            };
            self.ledger.record(Entry::Intended { intent: Box::new(intent) }, durability)?;
            let result = match refused {
                Some(error) => Err(error),
                None => self.next.perform(ticket, effect).await,
            };
            let elapsed_ms = self.clock.steady_ms().saturating_sub(start);
            let entry = match &result {
                Ok(outcome) => Entry::Completed { seq, outcome: outcome.value(), elapsed_ms },
                Err(error) => Entry::Failed { seq, error: error.clone(), elapsed_ms },
            };
            self.ledger.record(entry, durability).map_err(|error| EffectError {
                // The effect was performed; only its outcome is not on disk.
                applied: Applied::Unknown,
                kind: ErrorKind::Journal,
                ..EffectError::from(error)
            })?;
            result
        })
    }
}
