//! The run that a session is: begun when it opens, ended when it closes, and its effects taken back one by one on the
//! way. Knows the gateway and the clock; knows no script and no terminal.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::Handle;

use super::reopen::{Killed, ReopenError, Reopening};
use super::runner::release_locks;
use super::unwind::{CallClosure, Unwind, insist};
use crate::effect::{Effect, EffectError, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::redact::scrub_end;
use crate::journal::entry::{Entry, Level, Remaining, RunEnd, RunHeader, RunStatus};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::journal::{Durability, JournalError};
use crate::script::host::next_seq;
use crate::world::clock::Clock;

/// What a session is called in the journal, in the place of a script.
pub const SESSION: &str = "<repl>";

/// One session.
pub struct SessionRun {
    pub gateway: Arc<Gateway>,
    pub clock: Arc<dyn Clock>,
    pub header: RunHeader,
}

/// Why something was not taken back.
#[derive(Debug)]
pub enum NotTakenBack {
    /// There is no way back; the text says why.
    Impossible(String),
    /// It failed, and may be tried again.
    Failed(EffectError),
}

impl SessionRun {
    /// Writes down that it begins. A session has no text of its own.
    ///
    /// # Errors
    /// When the journal cannot be written: nothing may be done then.
    pub fn begin(&self) -> Result<(), JournalError> {
        let ledger = self.gateway.ledger();
        ledger.journal().keep_source(&self.header.digest, "")?;
        ledger.record(Entry::RunStarted { header: Box::new(self.header.clone()) }, Durability::Power)
    }

    /// Goes on with one that was killed: takes its locks in this process's name, and finds out what became of the
    /// effect that was under way. No input is done again; what was done can be taken back.
    ///
    /// # Errors
    /// When it could not be gone on with; it can be tried again.
    pub fn reopen(&self, handle: &Handle, reopening: &Reopening) -> Result<(), ReopenError> {
        let killed = Killed::open(&self.gateway, self.clock.as_ref(), handle, reopening)?;
        killed.take_locks()?;
        killed.settle(&reopening.decisions)
    }

    /// What can still be taken back, the oldest first.
    pub fn pile(&self) -> Vec<UndoStep> {
        self.gateway.ledger().state().undo_stack.clone()
    }

    /// Takes one step back.
    ///
    /// # Errors
    /// [`NotTakenBack`]; the step is on the pile still.
    pub fn undo(&self, handle: &Handle, step: &UndoStep, call: &CallClosure<'_>) -> Result<(), NotTakenBack> {
        let internal = |why: String| NotTakenBack::Failed(EffectError::new(ErrorKind::Internal, why));
        match &step.action {
            UndoAction::Impossible { why } => Err(NotTakenBack::Impossible(why.clone())),
            UndoAction::Closure { .. } => {
                call(&step.seq).map_err(|why| {
                    NotTakenBack::Failed(EffectError::new(ErrorKind::Failed, format!("`on_rollback` failed: {why}")))
                })?;
                let entry = Entry::RollbackCalled { seq: step.seq.clone() };
                let recorded = self.gateway.ledger().record(entry, Durability::Power);
                recorded.map_err(|error| NotTakenBack::Failed(error.into()))
            }
            UndoAction::Effect { kind, args } => {
                let effect = Effect::decode(kind, args.clone()).map_err(|error| internal(error.to_string()))?;
                let undone = handle.block_on(self.gateway.undo(next_seq(), step.seq.clone(), effect));
                undone.map(drop).map_err(NotTakenBack::Failed)
            }
        }
    }

    /// Takes everything back, as a script that failed is; then the session is at its end.
    pub fn take_back_all(&self, handle: &Handle, call: &CallClosure<'_>, reason: &str, status: RunStatus) -> RunEnd {
        let unwind = Unwind {
            gateway: &self.gateway,
            handle,
            clock: self.clock.as_ref(),
            next_seq: &next_seq,
            call: Some(call),
            after: &|| {},
        };
        let left = unwind.run(reason);
        let status = if left.is_empty() { status } else { RunStatus::Stuck };
        self.end(handle, status, Some(reason), left)
    }

    /// Does what is due at the end of a session that goes well: what cannot be done is warned of.
    pub fn finish(&self, handle: &Handle, due: Vec<Effect>) -> RunEnd {
        for effect in due {
            let done = insist(handle, self.clock.as_ref(), || self.gateway.perform_last(next_seq(), effect.clone()));
            if let Err(error) = done {
                self.warn(format!("`{} {}` failed: {error}", effect.kind(), effect.facts().subject()));
            }
        }
        self.end(handle, RunStatus::Succeeded, None, Vec::new())
    }

    fn end(&self, handle: &Handle, status: RunStatus, error: Option<&str>, remaining: Vec<Remaining>) -> RunEnd {
        self.gateway.finish();
        release_locks(&self.gateway, handle, self.clock.as_ref(), &next_seq);
        let ledger = self.gateway.ledger();
        let mut end = RunEnd {
            status,
            exit_code: status.exit_code(),
            error: error.map(str::to_owned),
            report: None,
            remaining,
            committed: ledger.state().committed,
            value: Value::Null,
            facts: BTreeMap::from([("engine".to_owned(), self.header.engine.clone())]),
        };
        scrub_end(ledger.vault(), &mut end);
        if let Err(error) = ledger.record(Entry::RunEnded { end: Box::new(end.clone()) }, Durability::Power) {
            self.warn(format!("the journal does not know how this session ended: {error}"));
        }
        end
    }

    fn warn(&self, text: String) {
        let entry = Entry::Logged { seq: None, level: Level::Warn, text };
        drop(self.gateway.ledger().record(entry, Durability::Process));
    }
}
