//! The run of an interactive session: it starts when the session opens and ends when it closes, and its effects can be
//! undone one at a time. Knows the gateway and the clock, but no script and no terminal.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::runtime::Handle;

use super::closure_error::{CallClosure, ClosureError};
use super::reopen::{InterruptedRun, ReopenError, Reopening};
use super::rollback::{Rollback, retry_at_end_of_run};
use super::runner::release_locks;
use crate::effect::{Effect, EffectError, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::redact::scrub_end;
use crate::journal::entry::{Entry, Level, Remaining, RunEnd, RunHeader, RunStatus};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::journal::{Durability, JournalError};
use crate::script::host::next_seq;
use crate::world::clock::Clock;

/// The name of a session in the journal, in place of a script.
pub const SESSION: &str = "<repl>";

/// The run of one session.
pub struct SessionRun {
    /// Performs the effects.
    pub gateway: Arc<Gateway>,
    /// Measures pauses.
    pub clock: Arc<dyn Clock>,
    /// What the run is.
    pub header: RunHeader,
}

/// Why a step was not undone.
#[derive(Debug)]
pub enum UndoError {
    /// It cannot be undone, for this reason.
    Impossible(String),
    /// The undo failed, and can be retried.
    Failed(EffectError),
}

impl SessionRun {
    /// Records the start of the session, with an empty script.
    ///
    /// # Errors
    /// When the journal cannot be written; no effect may be performed then.
    pub fn begin(&self) -> Result<(), JournalError> {
        let ledger = self.gateway.ledger();
        ledger.journal().keep_source(&self.header.digest, "")?;
        ledger.record(Entry::RunStarted { header: Box::new(self.header.clone()) }, Durability::Power)
    }

    /// Continues an interrupted session: acquires its locks for this process, and finds out what became of the effect
    /// that was under way. No input is repeated; what was done can be undone.
    ///
    /// # Errors
    /// When the session could not be continued; it can be retried.
    pub fn reopen(&self, handle: &Handle, reopening: &Reopening) -> Result<(), ReopenError> {
        let interrupted = InterruptedRun::open(&self.gateway, self.clock.as_ref(), handle, reopening)?;
        interrupted.acquire_locks()?;
        interrupted.settle(&reopening.decisions, |_| true)
    }

    /// Returns what can still be undone, the oldest first.
    pub fn undo_stack(&self) -> Vec<UndoStep> {
        self.gateway.ledger().state().undo_stack.clone()
    }

    /// Undoes one step.
    ///
    /// # Errors
    /// [`UndoError`]; the step stays on the undo stack.
    pub fn undo(&self, handle: &Handle, step: &UndoStep, call: &CallClosure<'_>) -> Result<(), UndoError> {
        let internal = |why: String| UndoError::Failed(EffectError::new(ErrorKind::Internal, why));
        match &step.action {
            UndoAction::Impossible { why } => Err(UndoError::Impossible(why.clone())),
            UndoAction::Closure { .. } => {
                call(&step.seq).map_err(|error| match error {
                    ClosureError::NotCalled(why) => UndoError::Impossible(why),
                    ClosureError::Failed(error) => {
                        let message = format!("`on_rollback` failed: {}", error.message);
                        UndoError::Failed(EffectError::new(ErrorKind::Failed, message))
                    }
                })?;
                let entry = Entry::RollbackCalled { seq: step.seq.clone() };
                let recorded = self.gateway.ledger().record(entry, Durability::Power);
                recorded.map_err(|error| UndoError::Failed(error.into()))
            }
            UndoAction::Effect { kind, args } => {
                let effect = Effect::decode(kind, args.clone()).map_err(|error| internal(error.to_string()))?;
                let undone = handle.block_on(self.gateway.undo(next_seq(), step.seq.clone(), effect));
                undone.map(drop).map_err(UndoError::Failed)
            }
        }
    }

    /// Rolls the whole session back, as a failed script is, and ends it.
    pub fn roll_back(&self, handle: &Handle, call: &CallClosure<'_>, reason: &str, status: RunStatus) -> RunEnd {
        let rollback = Rollback {
            gateway: &self.gateway,
            handle,
            clock: self.clock.as_ref(),
            next_seq: &next_seq,
            call: Some(call),
            after: &|| {},
        };
        let left = rollback.run(reason);
        let status = if left.is_empty() { status } else { RunStatus::Stuck };
        self.end(handle, status, Some(reason), left)
    }

    /// Performs what is due at the end of a session that succeeded, and ends it. Errors are logged as warnings.
    pub fn finish(&self, handle: &Handle, due: Vec<Effect>) -> RunEnd {
        for effect in due {
            let done = retry_at_end_of_run(handle, self.clock.as_ref(), || {
                self.gateway.perform_last(next_seq(), effect.clone())
            });
            if let Err(error) = done {
                self.warn(format!("`{} {}` failed: {error}", effect.kind(), effect.spec().subject()));
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
            self.warn(format!("the end of this session could not be recorded: {error}"));
        }
        end
    }

    fn warn(&self, text: String) {
        let entry = Entry::Logged { seq: None, level: Level::Warn, text };
        drop(self.gateway.ledger().record(entry, Durability::Process));
    }
}
