//! The state of a run, folded from its entries so far. Refuses an entry that cannot follow.

use std::collections::{BTreeMap, BTreeSet};

use super::JournalError;
use super::entry::{Entry, EntryAccess, Intent, RunEnd, RunHeader, RunStatus, UndoRecord};
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::lock::{AcquireLock, ReleaseLock};
use crate::effect::{Applied, ErrorKind, Request};

/// The effects that acquire and release a lock. They do not count as changes.
const LOCK: &str = AcquireLock::KIND;
const UNLOCK: &str = ReleaseLock::KIND;

/// What is known of a run.
#[derive(Debug, Default)]
pub struct RunState {
    /// What the run is; `None` before its first entry.
    pub header: Option<RunHeader>,
    /// Effects whose outcome is not known yet.
    pub under_way: BTreeMap<Seq, Intent>,
    /// What a rollback must undo, the newest last.
    pub undo_stack: Vec<UndoStep>,
    /// Whether an effect that ended changed something, or may have.
    changed: bool,
    /// Whether `commit()` was reached.
    pub committed: bool,
    /// Whether the rollback has started.
    pub rolling_back: bool,
    /// Services whose lock the run holds, or may hold, and the effect that acquired it first.
    pub locks: BTreeMap<String, Seq>,
    /// Effects whose first attempt has an unknown outcome. If a second attempt is refused, the first may still have
    /// been applied.
    doubtful: BTreeSet<Seq>,
    /// How the run ended.
    pub end: Option<RunEnd>,
    /// How often the run was reopened after an interruption.
    pub reopened: u32,
    /// Whether an effect of the script was cancelled: a rollback follows.
    pub cancelled: bool,
    resolved: bool,
}

fn changes_something(intent: &Intent) -> bool {
    intent.access == EntryAccess::Write && intent.kind != LOCK && intent.kind != UNLOCK
}

/// One thing to undo.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoStep {
    /// The effect, or the registration, that it belongs to.
    pub seq: Seq,
    /// How it is undone.
    pub action: UndoAction,
    /// The script line.
    pub site: Option<Site>,
    /// Kind and subject of the effect, for display.
    pub of: String,
}

/// How a step is undone.
#[derive(Clone, Debug, PartialEq)]
pub enum UndoAction {
    /// By this effect.
    Effect {
        /// The kind of the effect.
        kind: String,
        /// Its options.
        args: serde_json::Value,
    },
    /// By a closure of the script, identified by the position of its registration. With `otherwise` it is a guard:
    /// unless it succeeds, nothing below it is undone, and this is the command to type instead.
    Closure {
        /// The command of a guard.
        otherwise: Option<String>,
    },
    /// Not at all.
    Impossible {
        /// Why not.
        why: String,
    },
}

impl UndoStep {
    /// Returns whether the steps below it may only be undone after it succeeded.
    pub fn is_guard(&self) -> bool {
        matches!(self.action, UndoAction::Closure { otherwise: Some(_) })
    }
}

impl RunState {
    /// Checks that an entry can follow.
    ///
    /// # Errors
    /// [`JournalError::Illegal`] when it cannot.
    pub fn check(&self, entry: &Entry) -> Result<(), JournalError> {
        let illegal = |why: &str| Err(JournalError::Illegal { entry: entry.name(), why: why.into() });
        match (&self.end, entry) {
            (Some(end), Entry::RunResolved) if end.status == RunStatus::Stuck && !self.resolved => return Ok(()),
            (Some(_), _) => return illegal("the run has ended"),
            (None, _) if self.resolved => return illegal("the run is resolved"),
            (None, _) => {}
        }
        match entry {
            Entry::RunStarted { .. } if self.header.is_some() => illegal("the run has already started"),
            Entry::RunStarted { .. } => Ok(()),
            _ if self.header.is_none() => illegal("the run has not started"),
            Entry::Intended { intent } if self.under_way.contains_key(&intent.seq) => {
                illegal("this effect is already under way")
            }
            Entry::Completed { seq, .. } | Entry::Failed { seq, .. } if !self.under_way.contains_key(seq) => {
                illegal("no such effect is under way")
            }
            Entry::Committed { .. } | Entry::RollbackStarted { .. } if self.rolling_back => {
                illegal("the run is rolling back")
            }
            _ => Ok(()),
        }
    }

    /// Applies one more entry.
    ///
    /// # Errors
    /// [`JournalError::Illegal`] when it cannot follow; the state is then unchanged.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.check(entry)?;
        match entry {
            Entry::RunStarted { header } => self.header = Some(header.as_ref().clone()),
            Entry::Intended { intent } => self.intend(intent),
            Entry::Completed { seq, .. } => {
                if let Some(intent) = self.under_way.remove(seq) {
                    self.complete(&intent);
                }
            }
            Entry::Failed { seq, error, .. } => {
                self.cancelled |= error.kind == ErrorKind::Cancelled && seq.is_from_script();
                if let Some(intent) = self.under_way.remove(seq) {
                    self.fail(&intent, error.applied);
                }
            }
            Entry::RollbackRegistered { seq, site, otherwise } if !self.rolling_back => {
                self.undo_stack.push(UndoStep {
                    seq: seq.clone(),
                    action: UndoAction::Closure { otherwise: otherwise.clone() },
                    site: site.clone(),
                    of: "on_rollback".into(),
                })
            }
            Entry::RollbackCalled { seq } => self.undo_stack.retain(|step| step.seq != *seq),
            Entry::Committed { .. } => {
                self.committed = true;
                // An effect that is under way on another branch is not done yet, so it is not committed.
                let under_way = &self.under_way;
                self.undo_stack.retain(|step| under_way.contains_key(&step.seq));
            }
            Entry::RollbackStarted { .. } => self.rolling_back = true,
            Entry::RunEnded { end } => self.end = Some(end.as_ref().clone()),
            Entry::RunResolved => self.resolved = true,
            Entry::RunReopened { process, .. } => {
                self.reopened += 1;
                if let Some(header) = &mut self.header {
                    header.process = process.clone();
                }
            }
            Entry::RollbackRegistered { .. }
            | Entry::SourceLoaded { .. }
            | Entry::StepOpened { .. }
            | Entry::StepClosed { .. }
            | Entry::ParallelOpened { .. }
            | Entry::ParallelClosed { .. }
            | Entry::RollbackFailed { .. }
            | Entry::Logged { .. } => {}
        }
        Ok(())
    }

    fn intend(&mut self, intent: &Intent) {
        // Held from the intent on: if the outcome is lost, the lock must be released all the same.
        if intent.kind == LOCK {
            self.locks.entry(intent.subject.clone()).or_insert_with(|| intent.seq.clone());
        }
        // What is done during a rollback is not itself undone.
        // An effect that is repeated after an interruption keeps its first undo, which knows the state before it.
        if !self.rolling_back && self.undo_stack.iter().all(|step| step.seq != intent.seq) {
            let action = match &intent.undo {
                UndoRecord::Nothing => None,
                UndoRecord::Effect { kind, args } => {
                    Some(UndoAction::Effect { kind: kind.clone(), args: args.clone() })
                }
                UndoRecord::Impossible { why } => Some(UndoAction::Impossible { why: why.clone() }),
            };
            self.undo_stack.extend(action.map(|action| UndoStep {
                seq: intent.seq.clone(),
                action,
                site: intent.site.clone(),
                of: format!("{} {}", intent.kind, intent.subject),
            }));
        }
        self.under_way.insert(intent.seq.clone(), intent.clone());
    }

    fn complete(&mut self, intent: &Intent) {
        self.changed |= changes_something(intent);
        self.doubtful.remove(&intent.seq);
        if let Some(undone) = &intent.undoes {
            self.undo_stack.retain(|step| step.seq != *undone);
            self.doubtful.remove(undone);
        }
        if intent.kind == UNLOCK {
            self.locks.remove(&intent.subject);
        }
    }

    fn fail(&mut self, intent: &Intent, applied: Applied) {
        match applied {
            Applied::Unknown => {
                self.changed |= changes_something(intent);
                self.doubtful.insert(intent.seq.clone());
            }
            Applied::No if self.doubtful.contains(&intent.seq) => {}
            Applied::No => {
                self.undo_stack.retain(|step| step.seq != intent.seq);
                // A lock that the resuming process acquires again is held from before.
                self.locks.retain(|_, acquired_by| *acquired_by != intent.seq);
            }
        }
    }

    /// Returns whether an effect that changes something was performed, or may have been. Locks do not count.
    pub fn has_changed_something(&self) -> bool {
        self.changed || self.under_way.values().any(changes_something)
    }

    /// Returns the status of the run.
    pub fn status(&self) -> RunStatus {
        match &self.end {
            _ if self.resolved => RunStatus::Resolved,
            Some(end) => end.status,
            None => RunStatus::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effect::EffectError;
    use crate::journal::entry::{EntryRecovery, Process, RunHeader};

    fn seq(text: &str) -> Seq {
        text.parse().unwrap()
    }

    fn started() -> RunState {
        let mut state = RunState::default();
        let header = RunHeader {
            script: "s".into(),
            digest: "d".into(),
            params: json!({}),
            engine: "sim".into(),
            address: String::new(),
            engine_id: String::new(),
            engine_flags: String::new(),
            state_flags: String::new(),
            version: "0".into(),
            working_dir: String::new(),
            process: Process {
                host: "h".into(),
                pid: 1,
                boot_id: "b".into(),
                pid_namespace: String::new(),
                process_start: 1,
            },
        };
        state.apply(&Entry::RunStarted { header: Box::new(header) }).unwrap();
        state
    }

    fn intent(at: &str, undo: UndoRecord) -> Entry {
        Entry::Intended {
            intent: Box::new(Intent {
                seq: seq(at),
                kind: "docker_run".into(),
                subject: "web".into(),
                args: json!({}),
                access: EntryAccess::Write,
                recovery: EntryRecovery::Observe,
                undo,
                site: None,
                undoes: None,
            }),
        }
    }

    fn undo() -> UndoRecord {
        UndoRecord::Effect { kind: "docker_remove".into(), args: json!({"container": "web"}) }
    }

    #[test]
    fn an_effect_that_may_have_happened_stays_on_the_undo_stack() {
        let mut state = started();
        state.apply(&intent("1", undo())).unwrap();
        let error = EffectError::new(ErrorKind::Timeout, "too slow");
        state.apply(&Entry::Failed { seq: seq("1"), error, elapsed_ms: 1 }).unwrap();
        assert_eq!(state.undo_stack.len(), 1);
    }

    #[test]
    fn an_effect_that_certainly_did_not_happen_does_not() {
        let mut state = started();
        state.apply(&intent("1", undo())).unwrap();
        let error = EffectError::new(ErrorKind::NameTaken, "taken").not_applied();
        state.apply(&Entry::Failed { seq: seq("1"), error, elapsed_ms: 1 }).unwrap();
        assert!(state.undo_stack.is_empty());
    }

    #[test]
    fn an_effect_in_doubt_is_undone_even_if_its_repetition_is_refused() {
        let mut state = started();
        state.apply(&intent("1", undo())).unwrap();
        let lost = EffectError::new(ErrorKind::Interrupted, "killed");
        state.apply(&Entry::Failed { seq: seq("1"), error: lost, elapsed_ms: 1 }).unwrap();
        state.apply(&intent("1", undo())).unwrap();
        let refused = EffectError::new(ErrorKind::Refused, "not now").not_applied();
        state.apply(&Entry::Failed { seq: seq("1"), error: refused, elapsed_ms: 1 }).unwrap();
        assert_eq!(state.undo_stack.len(), 1);
    }

    #[test]
    fn a_lock_that_cannot_be_acquired_again_is_held_from_before() {
        let lock = |at: &str| {
            let Entry::Intended { mut intent } = intent(at, UndoRecord::Nothing) else { unreachable!() };
            intent.kind = LOCK.into();
            Entry::Intended { intent }
        };
        let refused = |at: &str| {
            let error = EffectError::new(ErrorKind::Refused, "not now").not_applied();
            Entry::Failed { seq: seq(at), error, elapsed_ms: 1 }
        };
        let mut state = started();
        state.apply(&lock("1")).unwrap();
        state.apply(&refused("1")).unwrap();
        assert!(state.locks.is_empty());
        state.apply(&lock("2")).unwrap();
        state.apply(&Entry::Completed { seq: seq("2"), outcome: json!(null), elapsed_ms: 1 }).unwrap();
        state.apply(&lock("0.2.1")).unwrap();
        state.apply(&refused("0.2.1")).unwrap();
        assert_eq!(state.locks.keys().collect::<Vec<_>>(), ["web"]);
    }

    #[test]
    fn commit_clears_the_undo_stack() {
        let mut state = started();
        state.apply(&intent("1", undo())).unwrap();
        state.apply(&Entry::Completed { seq: seq("1"), outcome: json!(null), elapsed_ms: 1 }).unwrap();
        state.apply(&Entry::Committed { seq: seq("2") }).unwrap();
        assert!(state.undo_stack.is_empty() && state.committed);
    }

    #[test]
    fn illegal_entries_are_refused() {
        let mut state = RunState::default();
        assert!(state.apply(&Entry::Committed { seq: seq("1") }).is_err(), "not started");
        let mut state = started();
        let done = Entry::Completed { seq: seq("1"), outcome: json!(null), elapsed_ms: 1 };
        assert!(state.apply(&done).is_err(), "completed without intent");
        state.apply(&intent("1", undo())).unwrap();
        assert!(state.apply(&intent("1", undo())).is_err(), "twice");
        state.apply(&done).unwrap();
        assert!(state.apply(&done).is_err(), "completed twice");
        state.apply(&Entry::RollbackStarted { reason: "r".into() }).unwrap();
        assert!(state.apply(&Entry::Committed { seq: seq("3") }).is_err(), "commit while rolling back");
    }
}
