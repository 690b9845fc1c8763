//! Records the intent before an effect and its outcome after it. Without a journal entry no effect is performed.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::ledger::Ledger;
use super::{Layer, RequestContext};
use crate::base::seq::Seq;
use crate::base::vault::SHORTEST_SCRUBBED;
use crate::effect::{Access, Applied, Effect, EffectError, ErrorKind, Outcome, Undo};
use crate::journal::Durability;
use crate::journal::entry::{Entry, Intent, Level, UndoRecord};
use crate::world::clock::Clock;

/// Deepest nesting of an outcome: less than what JSON parsers accept.
const DEPTH_LIMIT: usize = 64;

/// Writes each effect to the journal.
pub struct RecordLayer {
    next: Arc<dyn Layer>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
}

impl RecordLayer {
    /// Wraps `next`; `clock` measures how long effects take.
    pub fn new(next: Arc<dyn Layer>, ledger: Arc<Ledger>, clock: Arc<dyn Clock>) -> Self {
        Self { next, ledger, clock }
    }

    /// Finds the undo from the state before the effect: it must be on disk when the effect begins.
    async fn undo(&self, context: &RequestContext, effect: &Effect) -> Result<Undo, EffectError> {
        // What is done during a rollback is not itself undone, unless it was interrupted half-way in a closure: then it
        // is undone before the closure is called again.
        let is_undo = self.ledger.rolling_back() && !context.call.seq.is_in_closure();
        if effect.spec().access() == Access::Read || is_undo || context.undoes.is_some() {
            return Ok(Undo::Nothing);
        }
        let prior = match effect.spec().prior() {
            Some(read) => Some(self.next.perform(context, &read).await.map_err(EffectError::not_applied)?),
            None => None,
        };
        Ok(effect.spec().undo(prior.as_ref()))
    }

    /// Warns of secrets that deployer cannot redact. A failed write is ignored: the next entry fails too and ends the run.
    fn warn_of_short_secrets(&self, context: &RequestContext) {
        for name in context.call.vault.take_too_short() {
            let text = format!(
                "secret `{name}` has fewer than {SHORTEST_SCRUBBED} characters and is not redacted: it is shown wherever a program prints it"
            );
            drop(self.ledger.record(Entry::Logged { seq: None, level: Level::Warn, text }, Durability::Process));
        }
    }

    /// Records how the effect ended. If that fails, the effect may have been applied all the same.
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

/// Returns an outcome with its journal form. An outcome that could not be read back is an error.
fn storable(effect: &Effect, outcome: Outcome) -> Result<(Outcome, Value), EffectError> {
    let value = outcome.value();
    if depth(&value) <= DEPTH_LIMIT {
        return Ok((outcome, value));
    }
    let message = format!("the outcome of `{}` is nested deeper than {DEPTH_LIMIT} levels", effect.kind());
    Err(EffectError::new(ErrorKind::Failed, message))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

impl Layer for RecordLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let facts = effect.spec();
            let seq = context.call.seq.clone();
            let durability = match facts.access() {
                Access::Read => Durability::Process,
                Access::Write => Durability::Power,
            };
            let start = self.clock.steady_ms();
            let (undo, refused) = match self.undo(context, effect).await {
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
                undo: UndoRecord::new(undo, &context.call.run),
                site: context.site.clone(),
                undoes: context.undoes.clone(),
            };
            self.ledger.record(Entry::Intended { intent: Box::new(intent) }, durability)?;
            let result = match refused {
                Some(error) => Err(error),
                None => self.next.perform(context, effect).await,
            };
            let result = result.and_then(|outcome| storable(effect, outcome));
            self.warn_of_short_secrets(context);
            self.end(seq, result, self.clock.steady_ms().saturating_sub(start), durability)
        })
    }
}
