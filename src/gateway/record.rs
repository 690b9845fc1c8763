//! Writes the intent down before an effect and its outcome after it. No journal, no effect.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::ledger::Ledger;
use super::{Door, Ticket};
use crate::base::seq::Seq;
use crate::base::vault::SHORTEST_SCRUBBED;
use crate::effect::{Access, Applied, Effect, EffectError, ErrorKind, Outcome, Undo};
use crate::journal::Durability;
use crate::journal::entry::{Entry, Intent, Level, UndoRecord};
use crate::world::clock::Clock;

/// Deepest nesting of an answer: less than what JSON readers take.
const DEPTH_LIMIT: usize = 64;

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
        if effect.facts().access() == Access::Read || self.ledger.unwinding() || ticket.undoes.is_some() {
            return Ok(Undo::Nothing);
        }
        let prior = match effect.facts().prior() {
            Some(read) => Some(self.next.perform(ticket, &read).await.map_err(EffectError::not_applied)?),
            None => None,
        };
        Ok(effect.facts().undo(prior.as_ref()))
    }

    /// A person must know what deployer cannot keep out of sight. A lost journal ends the run at the next entry.
    fn warn_of_short_secrets(&self, ticket: &Ticket) {
        for name in ticket.call.vault.take_too_short() {
            let text = format!(
                "secret `{name}` has fewer than {SHORTEST_SCRUBBED} characters: it is shown wherever a program says it"
            );
            drop(self.ledger.record(Entry::Logged { seq: None, level: Level::Warn, text }, Durability::Process));
        }
    }

    /// Writes down how it ended. The effect was performed, whatever becomes of the entry.
    fn end(
        &self,
        seq: Seq,
        result: Result<(Outcome, Value), EffectError>,
        elapsed_ms: u64,
        durability: Durability,
    ) -> Result<Outcome, EffectError> {
        let (result, entry) = match result {
            Ok((outcome, value)) => (Ok(outcome), Entry::Completed { seq: seq.clone(), outcome: value, elapsed_ms }),
            Err(error) => (Err(error.clone()), Entry::Failed { seq: seq.clone(), error, elapsed_ms }),
        };
        let Err(lost) = self.ledger.record(entry, durability) else { return result };
        let too_large = lost.is_too_large();
        let error = EffectError { applied: Applied::Unknown, ..EffectError::from(lost) };
        if too_large {
            let entry = Entry::Failed { seq, error: error.clone(), elapsed_ms };
            self.ledger.record(entry, durability)?;
        }
        Err(error)
    }
}

/// An answer and its form in the journal. What a reader of the journal could not read back is no answer.
fn storable(effect: &Effect, outcome: Outcome) -> Result<(Outcome, Value), EffectError> {
    let value = outcome.value();
    if depth(&value) <= DEPTH_LIMIT {
        return Ok((outcome, value));
    }
    let message = format!("the answer of `{}` nests deeper than {DEPTH_LIMIT} levels", effect.kind());
    Err(EffectError::new(ErrorKind::Failed, message))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
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
            let result = result.and_then(|outcome| storable(effect, outcome));
            self.warn_of_short_secrets(ticket);
            self.end(seq, result, self.clock.steady_ms().saturating_sub(start), durability)
        })
    }
}
