//! Runs a script once: start, script, taking back if it fails, closures of `on_finish`, end.

use std::collections::BTreeMap;
use std::sync::Arc;

use miette::Diagnostic;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::unwind::{Unwind, insist};
use crate::base::seq::{Branch, Seq};
use crate::effect::lock::ReleaseLock;
use crate::effect::{Effect, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::redact::scrub_end;
use crate::journal::entry::{Entry, Level, Remaining, RunEnd, RunHeader, RunStatus};
use crate::journal::{Durability, JournalError};
use crate::script::diagnostic::ScriptDiagnostic;
use crate::script::host::{Host, on_branch};
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
        let ledger = self.gateway.ledger().clone();
        ledger.journal().keep_source(&self.header.digest, &self.source.text)?;
        ledger.record(Entry::RunStarted { header: Box::new(self.header.clone()) }, Durability::Power)?;
        let end = deep(|| on_branch(Branch::root(), || self.run_script(handle)));
        // A run that was stopped by force stays open in the journal: it can be aborted.
        if end.status == RunStatus::Running {
            return Ok(end);
        }
        if let Err(error) = ledger.record(Entry::RunEnded { end: Box::new(end.clone()) }, Durability::Power) {
            let text = format!("the journal does not know how this run ended: {error}");
            ledger.tell_unwritten(&Entry::Logged { level: Level::Warn, text });
            ledger.tell_unwritten(&Entry::RunEnded { end: Box::new(end.clone()) });
        }
        Ok(end)
    }

    fn run_script(&self, handle: &Handle) -> RunEnd {
        let host = Host::running(self.gateway.clone(), handle.clone(), self.given.clone());
        let program = match Program::compile(self.source.clone(), &self.loader, host) {
            Ok(program) => program,
            Err(diagnostic) => return self.end(RunStatus::Invalid, Some(&diagnostic), Vec::new(), Value::Null),
        };
        let end = match program.run() {
            Ok(value) => self.end(RunStatus::Succeeded, None, Vec::new(), value),
            Err(failure) => self.failed(&program, handle, &failure),
        };
        if end.status != RunStatus::Running {
            self.finish(&program, handle, &end);
        }
        end
    }

    /// Takes the run back and says how that went.
    fn failed(&self, program: &Program, handle: &Handle, failure: &Failure) -> RunEnd {
        let host = program.host();
        let call = |seq: &_| program.call_rollback(seq).map_err(|failure| failure.diagnostic.message.clone());
        let unwind = Unwind {
            gateway: &self.gateway,
            handle,
            clock: self.clock.as_ref(),
            next_seq: &|| host.next_seq(),
            call: Some(&call),
        };
        let left = unwind.run(&first_line(&failure.diagnostic.message));
        let cancel = self.gateway.cancel();
        let status = if cancel.everything.is_cancelled() {
            RunStatus::Running
        } else if left.is_empty() {
            self.status_of(failure)
        } else {
            RunStatus::Stuck
        };
        self.end(status, Some(&failure.diagnostic), left, Value::Null)
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
        for failure in program.call_finishers(&summary) {
            let text = format!("`on_finish` failed: {}", failure.diagnostic);
            drop(ledger.record(Entry::Logged { level: Level::Warn, text }, Durability::Process));
        }
        release_locks(&self.gateway, handle, self.clock.as_ref(), &|| program.host().next_seq());
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
        facts.extend(state.locks.iter().next().map(|service| ("service".to_owned(), service.clone())));
        let mut end = RunEnd {
            status,
            // Stopped by force: what it did is still there, and an abort must take it back.
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

/// Lets go of every lock that the run holds.
pub fn release_locks(gateway: &Gateway, handle: &Handle, clock: &dyn Clock, next_seq: &dyn Fn() -> Seq) {
    let ledger = gateway.ledger();
    let locks: Vec<String> = ledger.state().locks.iter().cloned().collect();
    for service in locks {
        let release: Effect = ReleaseLock { service }.into();
        let released = insist(handle, clock, || gateway.perform_last(next_seq(), release.clone()));
        if let Err(error) = released {
            let text = format!("the lock could not be let go of: {error}");
            drop(ledger.record(Entry::Logged { level: Level::Warn, text }, Durability::Process));
        }
    }
}

/// The status in the words of notifications.
fn notify_status(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Stuck => "stuck",
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Aborted => "rolled_back",
        RunStatus::Running | RunStatus::Invalid | RunStatus::Locked | RunStatus::Unfinished => "failed",
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
