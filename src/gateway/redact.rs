//! Scrubs the values of known secrets from everything that comes back from a world.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Layer, RequestContext};
use crate::base::vault::Vault;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::journal::entry::{Entry, RunEnd, UndoRecord};

/// Scrubs secrets from outcomes and errors.
pub struct RedactLayer {
    next: Arc<dyn Layer>,
}

impl RedactLayer {
    /// Wraps `next`.
    pub fn new(next: Arc<dyn Layer>) -> Self {
        Self { next }
    }
}

impl Layer for RedactLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let result = self.next.perform(context, effect).await;
            let vault = &context.call.vault;
            if vault.is_unused() {
                return result;
            }
            match result {
                Ok(outcome) => {
                    let mut value = outcome.value();
                    if scrub_value(vault, &mut value) {
                        Outcome::decode(effect.kind(), value).map_err(|error| {
                            EffectError::new(ErrorKind::Internal, format!("the outcome cannot be redacted: {error}"))
                        })
                    } else {
                        Ok(outcome)
                    }
                }
                Err(error) => Err(scrub_error(vault, error)),
            }
        })
    }
}

/// Scrubs every string in `value`, map keys included. Returns whether it changed anything.
pub fn scrub_value(vault: &Vault, value: &mut Value) -> bool {
    match value {
        Value::String(text) => {
            let clean = vault.scrub(text);
            let changed = clean != *text;
            *text = clean;
            changed
        }
        // Every item must be scrubbed: `any` would stop at the first one.
        Value::Array(items) => items.iter_mut().filter_map(|item| scrub_value(vault, item).then_some(())).count() > 0,
        Value::Object(map) => {
            let mut changed = map.values_mut().filter_map(|item| scrub_value(vault, item).then_some(())).count() > 0;
            if map.keys().any(|key| vault.scrub(key) != *key) {
                *map = std::mem::take(map).into_iter().map(|(key, value)| (vault.scrub(&key), value)).collect();
                changed = true;
            }
            changed
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Returns the entry as it may be stored and shown: all text from an operator, a script or a world is scrubbed.
/// The structure of the entry stays, whatever the secrets are.
pub fn scrub_entry(vault: &Vault, entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if vault.is_unused() {
        return entry;
    }
    let scrub = |text: &mut String| *text = vault.scrub(text);
    let value = |value: &mut Value| {
        scrub_value(vault, value);
    };
    match &mut entry {
        Entry::RunStarted { header } => value(&mut header.params),
        Entry::StepOpened { title, .. } => scrub(title),
        Entry::Intended { intent } => {
            scrub(&mut intent.subject);
            value(&mut intent.args);
            match &mut intent.undo {
                UndoRecord::Nothing => {}
                UndoRecord::Effect { args, .. } => value(args),
                UndoRecord::Impossible { why } => scrub(why),
            }
        }
        Entry::Completed { outcome, .. } => value(outcome),
        Entry::Failed { error, .. } => *error = scrub_error(vault, error.clone()),
        Entry::Logged { text, .. } => scrub(text),
        Entry::RollbackRegistered { otherwise, .. } => otherwise.iter_mut().for_each(scrub),
        Entry::RollbackStarted { reason } => scrub(reason),
        Entry::RollbackFailed { why, .. } => scrub(why),
        Entry::RunEnded { end } => scrub_end(vault, end),
        Entry::SourceLoaded { .. }
        | Entry::RunReopened { .. }
        | Entry::RunResolved
        | Entry::StepClosed { .. }
        | Entry::ParallelOpened { .. }
        | Entry::ParallelClosed { .. }
        | Entry::RollbackCalled { .. }
        | Entry::Committed { .. } => {}
    }
    entry
}

/// Scrubs the last entry of a run.
pub fn scrub_end(vault: &Vault, end: &mut RunEnd) {
    let scrub = |text: &mut String| *text = vault.scrub(text);
    end.error.iter_mut().chain(&mut end.report).for_each(scrub);
    for remaining in &mut end.remaining {
        scrub(&mut remaining.what);
        remaining.command.iter_mut().for_each(scrub);
    }
    scrub_value(vault, &mut end.value);
}

fn scrub_error(vault: &Vault, mut error: EffectError) -> EffectError {
    error.message = vault.scrub(&error.message);
    error.hint = error.hint.map(|hint| vault.scrub(&hint));
    error.detail = error.detail.map(|detail| vault.scrub(&detail));
    error
}
