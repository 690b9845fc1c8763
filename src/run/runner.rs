//! Executes a script once: start, script, rollback if it fails, closures of `on_finish`, end.

use std::collections::BTreeMap;
use std::sync::Arc;

use miette::Diagnostic;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::closure_error::{CallClosure, ClosureError};
use super::created_objects::created_objects;
use super::rollback::{Rollback, retry_at_end_of_run};
use crate::base::seq::{Branch, Seq};
use crate::effect::lock::ReleaseLock;
use crate::effect::{Effect, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::redact::scrub_end;
use crate::journal::entry::{Entry, Level, Purpose, Remaining, RunEnd, RunHeader, RunStatus};
use crate::journal::run_state::UndoAction;
use crate::journal::{Durability, JournalError};
use crate::script::diagnostic::ScriptDiagnostic;
use crate::script::host::{Host, next_seq, on_branch};
use crate::script::program::{Failure, Program};
use crate::script::source::{Source, SourceLoader};
use crate::script::stack::deep;
use crate::world::clock::Clock;

/// Turns a diagnostic into the text that the terminal shows and the journal keeps.
pub type Render = Arc<dyn Fn(&dyn Diagnostic) -> String + Send + Sync>;

/// One script with everything that its run needs.
pub struct Runner {
    /// Performs the effects.
    pub gateway: Arc<Gateway>,
    /// Measures pauses.
    pub clock: Arc<dyn Clock>,
    /// The script.
    pub source: Source,
    /// Loads its modules.
    pub loader: Arc<dyn SourceLoader>,
    /// The parameters as given, already checked against the declaration.
    pub given: Value,
    /// What the run is.
    pub header: RunHeader,
    /// Renders the report of a failure.
    pub render: Render,
}

impl Runner {
    /// Executes the run. Blocks: call it on a thread that is no worker of the async runtime.
    ///
    /// # Errors
    /// Only when the start of the run cannot be recorded; nothing was changed then.
    pub fn run(self, handle: &Handle) -> Result<RunEnd, JournalError> {
        let ledger = self.gateway.ledger();
        ledger.journal().keep_source(&self.header.digest, &self.source.text)?;
        ledger.record(Entry::RunStarted { header: Box::new(self.header.clone()) }, Durability::Power)?;
        Ok(self.drive(handle, None))
    }

    /// Executes the script, or replays it for this purpose, and records how the run ended.
    pub(super) fn drive(&self, handle: &Handle, purpose: Option<Purpose>) -> RunEnd {
        let ledger = self.gateway.ledger();
        let end = deep(|| on_branch(Branch::root(), || self.run_script(handle, purpose)));
        // A run that was stopped by force, or whose replay diverged, stays open in the journal.
        if end.status == RunStatus::Running {
            return end;
        }
        if let Err(error) = ledger.record(Entry::RunEnded { end: Box::new(end.clone()) }, Durability::Power) {
            let text = format!("the end of this run could not be recorded: {error}");
            ledger.report_unwritten(&Entry::Logged { seq: None, level: Level::Warn, text });
            ledger.report_unwritten(&Entry::RunEnded { end: Box::new(end.clone()) });
        }
        end
    }

    fn run_script(&self, handle: &Handle, purpose: Option<Purpose>) -> RunEnd {
        let host = Host::running(self.gateway.clone(), handle.clone(), self.given.clone());
        let mut program = match Program::compile(self.source.clone(), &self.loader, host) {
            Ok(program) => program,
            Err(diagnostic) if purpose.is_some() => {
                return self.end(RunStatus::Running, Some(&diagnostic), Vec::new(), Value::Null);
            }
            Err(diagnostic) => return self.end(RunStatus::Invalid, Some(&diagnostic), Vec::new(), Value::Null),
        };
        let result = program.run();
        let end = match purpose {
            Some(purpose) if self.is_closed(purpose) => self.end_of_rollback(&program, handle, purpose, result.err()),
            _ => match self.check_complete_replay(&program, result).and_then(|value| {
                let missing = purpose.map(|_| self.check_created_objects(&program, handle));
                missing.unwrap_or(Ok(())).map(|()| value)
            }) {
                Ok(value) => self.end(RunStatus::Succeeded, None, Vec::new(), value),
                Err(failure) if is_divergence(&failure) => {
                    self.end(RunStatus::Running, Some(&failure.diagnostic), Vec::new(), Value::Null)
                }
                Err(failure) => {
                    if let Some(replayed) = purpose.and_then(|_| self.with_all_closures(&program, handle)) {
                        program = replayed;
                    }
                    self.failed(&program, handle, &failure)
                }
            },
        };
        if end.status != RunStatus::Running {
            self.finish(&program, handle, &end);
        }
        end
    }

    /// Replays a resumed run to where it has come, if it ended before every closure of `on_rollback` was registered again.
    fn with_all_closures(&self, program: &Program, handle: &Handle) -> Option<Program> {
        let ledger = self.gateway.ledger();
        let is_missing = |seq: &Seq| program.host().rollback(seq).is_none();
        let closures: Vec<Seq> = {
            let state = ledger.state();
            let steps = state.undo_stack.iter().filter(|step| matches!(step.action, UndoAction::Closure { .. }));
            steps.map(|step| step.seq.clone()).collect()
        };
        if !closures.iter().any(is_missing) {
            return None;
        }
        ledger.replay(true).ok()?;
        let host = Host::running(self.gateway.clone(), handle.clone(), self.given.clone());
        let replayed = Program::compile(self.source.clone(), &self.loader, host).ok()?;
        let diverged = replayed.run().is_err_and(|failure| is_divergence(&failure));
        (!diverged).then_some(replayed)
    }

    /// Returns whether the reopened run goes no further.
    pub(super) fn is_closed(&self, purpose: Purpose) -> bool {
        let ledger = self.gateway.ledger();
        purpose == Purpose::Abort || ledger.rolling_back() || ledger.state().cancelled
    }

    /// Checks that a replay requested everything that the run did.
    fn check_complete_replay(&self, program: &Program, result: Result<Value, Failure>) -> Result<Value, Failure> {
        if result.as_ref().is_err_and(is_divergence) {
            return result;
        }
        match self.gateway.ledger().replay_cursor().and_then(|cursor| cursor.unreached()) {
            Some(divergence) => Err(program.fault(divergence.into())),
            None => result,
        }
    }

    /// Checks that everything that a resumed run created still exists: it may have been killed long ago.
    fn check_created_objects(&self, program: &Program, handle: &Handle) -> Result<(), Failure> {
        let ledger = self.gateway.ledger();
        let records = ledger.journal().records(ledger.run()).map_err(|error| program.fault(error.into()))?;
        self.beside(|next_seq| {
            for object in created_objects(&records) {
                match handle.block_on(object.expect_exists(&self.gateway, next_seq())) {
                    Err(error) if error.kind == ErrorKind::NotFound => return Err(program.fault(error)),
                    Err(error) => self.warn(format!("not checked whether what this run created still exists: {error}")),
                    Ok(()) => {}
                }
            }
            Ok(())
        })
    }

    /// Rolls a failed run back and returns its end.
    fn failed(&self, program: &Program, handle: &Handle, failure: &Failure) -> RunEnd {
        let reason = self.reason(failure);
        let left = self.roll_back(Some(program), handle, &reason);
        let status = if left.is_empty() { self.status_of(failure) } else { RunStatus::Stuck };
        let mut end = self.end(self.unless_stopped(status), Some(&failure.diagnostic), left, Value::Null);
        if end.status == RunStatus::Cancelled {
            end.error = Some(reason);
        }
        end
    }

    /// Rolls back a reopened run that goes no further, and returns its end. `failure` is where its replay ended.
    fn end_of_rollback(
        &self,
        program: &Program,
        handle: &Handle,
        purpose: Purpose,
        failure: Option<Failure>,
    ) -> RunEnd {
        let diverged = failure.as_ref().filter(|failure| is_divergence(failure));
        if let Some(diverged) = diverged {
            let text = format!("the closures of `on_rollback` cannot be called: {}", diverged.diagnostic.message);
            self.warn(text);
        }
        let why = match failure.as_ref().filter(|failure| purpose != Purpose::Abort || !is_cancellation(failure)) {
            Some(failure) => self.reason(failure),
            // Its replay is cancelled where the run was killed.
            None => "the run was aborted".into(),
        };
        let left = self.roll_back(diverged.is_none().then_some(program), handle, &why);
        let status = match &failure {
            _ if !left.is_empty() => RunStatus::Stuck,
            _ if purpose == Purpose::Abort => RunStatus::Aborted,
            Some(failure) if !is_cancellation(failure) => RunStatus::Failed,
            _ => RunStatus::Cancelled,
        };
        let mut end =
            self.end(self.unless_stopped(status), failure.as_ref().map(|f| &*f.diagnostic), left, Value::Null);
        if purpose == Purpose::Abort {
            end.error = Some("interrupted, then aborted".into());
            end.report = None;
        }
        // The abort that was requested succeeded, unless the run had passed its point of no return.
        if end.status == RunStatus::Aborted && !end.committed {
            end.exit_code = 0;
        }
        end
    }

    /// Returns the status, unless the second cancellation stopped the rollback.
    fn unless_stopped(&self, status: RunStatus) -> RunStatus {
        if self.gateway.cancel().everything.is_cancelled() { RunStatus::Running } else { status }
    }

    /// Undoes everything. Without the program, closures are left to the operator.
    fn roll_back(&self, program: Option<&Program>, handle: &Handle, reason: &str) -> Vec<Remaining> {
        let call = program.map(|program| {
            move |seq: &Seq| match program.call_rollback(seq) {
                None => Err(ClosureError::NotCalled("the replay did not reach its registration".into())),
                Some(called) => called.map_err(ClosureError::from),
            }
        });
        self.beside(|next_seq| {
            let rollback = Rollback {
                gateway: &self.gateway,
                handle,
                clock: self.clock.as_ref(),
                next_seq,
                call: call.as_ref().map(|call| call as &CallClosure),
                after: &|| program.iter().for_each(|program| program.check_expectations()),
            };
            rollback.run(reason)
        })
    }

    /// Runs `body` on a branch beside the script's, which a replay of the script never reaches.
    fn beside<T>(&self, body: impl FnOnce(&dyn Fn() -> Seq) -> T) -> T {
        let attempt = self.gateway.ledger().state().reopened;
        on_branch(Branch::outside_script(attempt), || body(&next_seq))
    }

    /// Returns why a run is rolled back. A cancellation reads the same wherever the script noticed it.
    fn reason(&self, failure: &Failure) -> String {
        match is_cancellation(failure) {
            true => self.gateway.cancel().cause().to_owned(),
            false => first_line(&failure.diagnostic.message),
        }
    }

    fn status_of(&self, failure: &Failure) -> RunStatus {
        let state = self.gateway.ledger().state();
        match failure.error.as_ref().map(|error| error.kind) {
            _ if self.gateway.cancel().forward.is_cancelled() => RunStatus::Cancelled,
            Some(ErrorKind::Locked) if !state.has_changed_something() => RunStatus::Locked,
            Some(ErrorKind::Unfinished) if !state.has_changed_something() => RunStatus::Unfinished,
            None | Some(ErrorKind::Invalid | ErrorKind::Journal) if !state.has_changed_something() => {
                RunStatus::Invalid
            }
            _ => RunStatus::Failed,
        }
    }

    /// Calls the closures of `on_finish`, then releases the locks: no other run of the service starts before.
    fn finish(&self, program: &Program, handle: &Handle, end: &RunEnd) {
        let ledger = self.gateway.ledger();
        self.gateway.finish();
        let summary = json!({
            "status": notify_status(end.status, end.committed),
            "error": end.error,
            "committed": end.committed,
            "remaining": end.remaining,
            "run": ledger.run(),
        });
        for failure in on_branch(Branch::finishing(), || program.call_finishers(&summary)) {
            self.warn(format!("`on_finish` failed: {}", failure.diagnostic));
        }
        self.beside(|next_seq| release_locks(&self.gateway, handle, self.clock.as_ref(), next_seq));
    }

    fn warn(&self, text: String) {
        let entry = Entry::Logged { seq: None, level: Level::Warn, text };
        drop(self.gateway.ledger().record(entry, Durability::Process));
    }

    fn end(
        &self,
        status: RunStatus,
        diagnostic: Option<&ScriptDiagnostic>,
        remaining: Vec<Remaining>,
        value: Value,
    ) -> RunEnd {
        let ledger = self.gateway.ledger();
        let state = ledger.state();
        let mut facts = BTreeMap::from([("engine".to_owned(), self.header.engine.clone())]);
        facts.extend(state.locks.keys().next().map(|service| ("service".to_owned(), service.clone())));
        let mut end = RunEnd {
            status,
            // Stopped by force: its changes are still there, and it must be resumed or aborted.
            exit_code: if status == RunStatus::Running { RunStatus::Unfinished } else { status }.exit_code(),
            error: diagnostic.map(|diagnostic| first_line(&diagnostic.message)),
            report: diagnostic.map(|diagnostic| (self.render)(diagnostic)),
            remaining,
            committed: state.committed,
            value,
            facts,
        };
        scrub_end(ledger.vault(), &mut end);
        end
    }
}

fn is_divergence(failure: &Failure) -> bool {
    failure.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Diverged)
}

fn is_cancellation(failure: &Failure) -> bool {
    failure.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Cancelled)
}

/// Releases every lock that the run holds.
pub(super) fn release_locks(gateway: &Gateway, handle: &Handle, clock: &dyn Clock, next_seq: &dyn Fn() -> Seq) {
    let ledger = gateway.ledger();
    let locks: Vec<String> = ledger.state().locks.keys().cloned().collect();
    for service in locks {
        let release: Effect = ReleaseLock { service }.into();
        let released = retry_at_end_of_run(handle, clock, || gateway.perform_last(next_seq(), release.clone()));
        if let Err(error) = released {
            let text = format!("the lock could not be released: {error}");
            let entry = Entry::Logged { seq: None, level: Level::Warn, text };
            drop(ledger.record(entry, Durability::Process));
        }
    }
}

/// Returns the status as `on_finish` and notifications see it. After a commit, not all changes were rolled back.
fn notify_status(status: RunStatus, committed: bool) -> &'static str {
    match status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Stuck => "stuck",
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Aborted | RunStatus::Resolved if !committed => {
            "rolled_back"
        }
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Aborted | RunStatus::Resolved => "failed",
        RunStatus::Running | RunStatus::Invalid | RunStatus::Locked | RunStatus::Unfinished => "failed",
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
