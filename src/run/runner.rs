//! Runs a script once: start, script, taking back if it fails, closures of `on_finish`, end.

use std::collections::BTreeMap;
use std::sync::Arc;

use miette::Diagnostic;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::unwind::{CallClosure, Unwind, insist};
use crate::base::seq::{Branch, Seq};
use crate::effect::lock::ReleaseLock;
use crate::effect::{Effect, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::redact::scrub_end;
use crate::journal::entry::{Entry, Level, Purpose, Remaining, RunEnd, RunHeader, RunStatus};
use crate::journal::past::Past;
use crate::journal::{Durability, JournalError};
use crate::script::diagnostic::ScriptDiagnostic;
use crate::script::host::{Host, next_seq, on_branch};
use crate::script::program::{Failure, Program};
use crate::script::source::{Source, SourceLoader};
use crate::script::stack::deep;
use crate::world::clock::Clock;

/// Turns a diagnostic into the text that the terminal shows and the journal keeps.
pub type Render = Arc<dyn Fn(&dyn Diagnostic) -> String + Send + Sync>;

/// One script with all it needs to run.
pub struct Runner {
    pub gateway: Arc<Gateway>,
    pub clock: Arc<dyn Clock>,
    pub source: Source,
    pub loader: Arc<dyn SourceLoader>,
    /// The parameters as given, checked against the declaration already.
    pub given: Value,
    pub header: RunHeader,
    pub render: Render,
}

impl Runner {
    /// Runs it. Blocks: call it on a thread that is no worker of the async runtime.
    ///
    /// # Errors
    /// Only when the journal cannot even be begun; then nothing was done.
    pub fn run(self, handle: &Handle) -> Result<RunEnd, JournalError> {
        let ledger = self.gateway.ledger();
        ledger.journal().keep_source(&self.header.digest, &self.source.text)?;
        ledger.record(Entry::RunStarted { header: Box::new(self.header.clone()) }, Durability::Power)?;
        Ok(self.drive(handle, None))
    }

    /// Runs the script, again if `purpose` says so, and writes down how it ended.
    pub(super) fn drive(&self, handle: &Handle, purpose: Option<Purpose>) -> RunEnd {
        let ledger = self.gateway.ledger();
        let end = deep(|| on_branch(Branch::root(), || self.run_script(handle, purpose)));
        // A run that was stopped by force, or whose replay led elsewhere, stays open in the journal.
        if end.status == RunStatus::Running {
            return end;
        }
        if let Err(error) = ledger.record(Entry::RunEnded { end: Box::new(end.clone()) }, Durability::Power) {
            let text = format!("the journal does not know how this run ended: {error}");
            ledger.tell_unwritten(&Entry::Logged { seq: None, level: Level::Warn, text });
            ledger.tell_unwritten(&Entry::RunEnded { end: Box::new(end.clone()) });
        }
        end
    }

    fn run_script(&self, handle: &Handle, purpose: Option<Purpose>) -> RunEnd {
        let host = Host::running(self.gateway.clone(), handle.clone(), self.given.clone());
        let program = match Program::compile(self.source.clone(), &self.loader, host) {
            Ok(program) => program,
            Err(diagnostic) if purpose.is_some() => {
                return self.end(RunStatus::Running, Some(&diagnostic), Vec::new(), Value::Null);
            }
            Err(diagnostic) => return self.end(RunStatus::Invalid, Some(&diagnostic), Vec::new(), Value::Null),
        };
        let result = program.run();
        let end = match purpose {
            Some(purpose) if self.is_closed(purpose) => self.taken_back(&program, handle, purpose, result.err()),
            _ => match self.all_asked_for(&program, result) {
                Ok(value) => self.end(RunStatus::Succeeded, None, Vec::new(), value),
                Err(failure) if is_divergence(&failure) => {
                    self.end(RunStatus::Running, Some(&failure.diagnostic), Vec::new(), Value::Null)
                }
                Err(failure) => self.failed(&program, handle, &failure),
            },
        };
        if end.status != RunStatus::Running {
            self.finish(&program, handle, &end);
        }
        end
    }

    /// Whether the run that is opened again goes no further.
    pub(super) fn is_closed(&self, purpose: Purpose) -> bool {
        let ledger = self.gateway.ledger();
        purpose == Purpose::Abort || ledger.unwinding() || ledger.state().cancelled
    }

    /// A replay that ends before it came to all that the run did is none.
    fn all_asked_for(&self, program: &Program, result: Result<Value, Failure>) -> Result<Value, Failure> {
        if result.as_ref().is_err_and(is_divergence) {
            return result;
        }
        match self.gateway.ledger().past().and_then(Past::left_over) {
            Some(left) => Err(program.fault(left.into())),
            None => result,
        }
    }

    /// Takes the run back and says how that went.
    fn failed(&self, program: &Program, handle: &Handle, failure: &Failure) -> RunEnd {
        let left = self.unwind(Some(program), handle, &reason(failure));
        let status = if left.is_empty() { self.status_of(failure) } else { RunStatus::Stuck };
        self.end(self.unless_stopped(status), Some(&failure.diagnostic), left, Value::Null)
    }

    /// Takes a run back that goes no further. `failure` is where its replay ended.
    fn taken_back(&self, program: &Program, handle: &Handle, purpose: Purpose, failure: Option<Failure>) -> RunEnd {
        let lost = failure.as_ref().filter(|failure| is_divergence(failure));
        if let Some(lost) = lost {
            let text = format!("the closures of `on_rollback` cannot be called: {}", lost.diagnostic.message);
            self.warn(text);
        }
        let why = failure.as_ref().map_or_else(|| "aborted".into(), reason);
        let left = self.unwind(lost.is_none().then_some(program), handle, &why);
        let status = match &failure {
            _ if !left.is_empty() => RunStatus::Stuck,
            _ if purpose == Purpose::Abort => RunStatus::Aborted,
            Some(failure) if !is_cancellation(failure) => RunStatus::Failed,
            _ => RunStatus::Cancelled,
        };
        let mut end =
            self.end(self.unless_stopped(status), failure.as_ref().map(|f| &*f.diagnostic), left, Value::Null);
        if purpose == Purpose::Abort {
            end.error = Some("killed, and aborted".into());
            end.report = None;
        }
        // Whoever asked for an abort got it.
        if end.status == RunStatus::Aborted {
            end.exit_code = 0;
        }
        end
    }

    /// The status, unless the second cancellation ended all of it.
    fn unless_stopped(&self, status: RunStatus) -> RunStatus {
        if self.gateway.cancel().everything.is_cancelled() { RunStatus::Running } else { status }
    }

    /// Takes everything back; without the program, closures are left to a person.
    fn unwind(&self, program: Option<&Program>, handle: &Handle, reason: &str) -> Vec<Remaining> {
        let call = program.map(|program| {
            move |seq: &Seq| program.call_rollback(seq).map_err(|failure| failure.diagnostic.message.clone())
        });
        self.beside(|next_seq| {
            let unwind = Unwind {
                gateway: &self.gateway,
                handle,
                clock: self.clock.as_ref(),
                next_seq,
                call: call.as_ref().map(|call| call as &CallClosure),
                after: &|| program.iter().for_each(|program| program.check_expectations()),
            };
            unwind.run(reason)
        })
    }

    /// Runs `body` on the branch of what is done beside the script: a replay of the script never comes there.
    fn beside<T>(&self, body: impl FnOnce(&dyn Fn() -> Seq) -> T) -> T {
        let attempt = self.gateway.ledger().state().reopened;
        on_branch(Branch::beside_script(attempt), || body(&next_seq))
    }

    fn status_of(&self, failure: &Failure) -> RunStatus {
        let state = self.gateway.ledger().state();
        match failure.error.as_ref().map(|error| error.kind) {
            _ if self.gateway.cancel().forward.is_cancelled() => RunStatus::Cancelled,
            Some(ErrorKind::Locked) if !state.touched() => RunStatus::Locked,
            Some(ErrorKind::Unfinished) if !state.touched() => RunStatus::Unfinished,
            None | Some(ErrorKind::Invalid | ErrorKind::Journal) if !state.touched() => RunStatus::Invalid,
            _ => RunStatus::Failed,
        }
    }

    /// Closures of `on_finish`, then the locks: nobody else begins before the last word is said.
    fn finish(&self, program: &Program, handle: &Handle, end: &RunEnd) {
        let ledger = self.gateway.ledger();
        self.gateway.finish();
        let summary = json!({
            "status": notify_status(end.status),
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
            // Stopped by force: what it did is still there, and must be resumed or aborted.
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

/// Why a run is taken back. A cancellation reads the same wherever in the script it was noticed.
fn reason(failure: &Failure) -> String {
    if is_cancellation(failure) { "the run was cancelled".into() } else { first_line(&failure.diagnostic.message) }
}

/// Lets go of every lock that the run holds.
pub fn release_locks(gateway: &Gateway, handle: &Handle, clock: &dyn Clock, next_seq: &dyn Fn() -> Seq) {
    let ledger = gateway.ledger();
    let locks: Vec<String> = ledger.state().locks.keys().cloned().collect();
    for service in locks {
        let release: Effect = ReleaseLock { service }.into();
        let released = insist(handle, clock, || gateway.perform_last(next_seq(), release.clone()));
        if let Err(error) = released {
            let text = format!("the lock could not be let go of: {error}");
            let entry = Entry::Logged { seq: None, level: Level::Warn, text };
            drop(ledger.record(entry, Durability::Process));
        }
    }
}

/// The status in the words of notifications.
fn notify_status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Stuck => "stuck",
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Aborted | RunStatus::Resolved => "rolled_back",
        RunStatus::Running | RunStatus::Invalid | RunStatus::Locked | RunStatus::Unfinished => "failed",
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
