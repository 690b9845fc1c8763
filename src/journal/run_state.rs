//! The fold: the state of a run after its entries so far. Refuses an entry that cannot follow.

use std::collections::{BTreeMap, BTreeSet};

use super::JournalError;
use super::entry::{Entry, EntryAccess, Intent, RunEnd, RunHeader, RunStatus, UndoRecord};
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::lock::{AcquireLock, ReleaseLock};
use crate::effect::{Applied, ErrorKind, Request};

/// The kinds of the effects that take and let go of a lock: they change nothing that anybody would miss.
const LOCK: &str = AcquireLock::KIND;
const UNLOCK: &str = ReleaseLock::KIND;

/// What is known of a run.
#[derive(Debug, Default)]
pub struct RunState {
    pub header: Option<RunHeader>,
    /// Effects whose outcome is not known yet.
    pub under_way: BTreeMap<Seq, Intent>,
    /// What must be taken back, the last on top.
    pub undo_stack: Vec<UndoStep>,
    /// Whether an effect has ended that changed something, or may have.
    changed: bool,
    pub committed: bool,
    pub unwinding: bool,
    /// Services whose lock the run holds, or may hold, and the effect that took it first.
    pub locks: BTreeMap<String, Seq>,
    /// Effects that a kill or a lost answer left in doubt: that doing one again is refused says nothing of the first time.
    doubtful: BTreeSet<Seq>,
    pub end: Option<RunEnd>,
    /// How often it was opened again after it was killed.
    pub reopened: u32,
    /// Whether an effect of the script was cancelled: what follows is taking back.
    pub cancelled: bool,
    resolved: bool,
}

fn touches(intent: &Intent) -> bool {
    intent.access == EntryAccess::Write && intent.kind != LOCK && intent.kind != UNLOCK
}

/// One thing to take back.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoStep {
    /// The effect, or the registration, that it belongs to.
    pub seq: Seq,
    pub action: UndoAction,
    pub site: Option<Site>,
    /// Kind and subject of the effect, for people.
    pub of: String,
}

/// How it is taken back.
#[derive(Clone, Debug, PartialEq)]
pub enum UndoAction {
    Effect {
        kind: String,
        args: serde_json::Value,
    },
    /// A closure of the script, known by the place of its registration. With `otherwise` a guard: unless it succeeds,
    /// nothing below it is taken back, and this is the command for a person.
    Closure {
        otherwise: Option<String>,
    },
    Impossible {
        why: String,
    },
}

impl UndoStep {
    /// Whether what is below it must stay as it is unless it is taken back itself.
    pub fn is_guard(&self) -> bool {
        matches!(self.action, UndoAction::Closure { otherwise: Some(_) })
    }
}

impl RunState {
    /// Whether an entry can follow.
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
            Entry::RunStarted { .. } if self.header.is_some() => illegal("the run has started already"),
            Entry::RunStarted { .. } => Ok(()),
            _ if self.header.is_none() => illegal("the run has not started"),
            Entry::Intended { intent } if self.under_way.contains_key(&intent.seq) => {
                illegal("this effect is under way already")
            }
            Entry::Completed { seq, .. } | Entry::Failed { seq, .. } if !self.under_way.contains_key(seq) => {
                illegal("no such effect is under way")
            }
            Entry::Committed { .. } | Entry::UnwindStarted { .. } if self.unwinding => {
                illegal("the run is being taken back")
            }
            _ => Ok(()),
        }
    }

    /// Takes one more entry in.
    ///
    /// # Errors
    /// [`JournalError::Illegal`] when it cannot follow; the state is unchanged then.
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
                self.cancelled |= error.kind == ErrorKind::Cancelled && seq.is_of_script();
                if let Some(intent) = self.under_way.remove(seq) {
                    self.fail(&intent, error.applied);
                }
            }
            Entry::RollbackRegistered { seq, site, otherwise } if !self.unwinding => self.undo_stack.push(UndoStep {
                seq: seq.clone(),
                action: UndoAction::Closure { otherwise: otherwise.clone() },
                site: site.clone(),
                of: "on_rollback".into(),
            }),
            Entry::RollbackCalled { seq } => self.undo_stack.retain(|step| step.seq != *seq),
            Entry::Committed { .. } => {
                self.committed = true;
                // What another branch has under way is not done yet, and so not committed.
                let under_way = &self.under_way;
                self.undo_stack.retain(|step| under_way.contains_key(&step.seq));
            }
            Entry::UnwindStarted { .. } => self.unwinding = true,
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
            | Entry::Logged { .. } => {}
        }
        Ok(())
    }

    fn intend(&mut self, intent: &Intent) {
        // Held from the intent on: if the answer gets lost, it must be let go of all the same.
        if intent.kind == LOCK {
            self.locks.entry(intent.subject.clone()).or_insert_with(|| intent.seq.clone());
        }
        // Nothing that is done while taking back is itself taken back.
        // What is done once more after a kill keeps its first undo: that one knows the state before.
        if !self.unwinding && self.undo_stack.iter().all(|step| step.seq != intent.seq) {
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
        self.changed |= touches(intent);
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
                self.changed |= touches(intent);
                self.doubtful.insert(intent.seq.clone());
            }
            Applied::No if self.doubtful.contains(&intent.seq) => {}
            Applied::No => {
                self.undo_stack.retain(|step| step.seq != intent.seq);
                // One that is taken again by whoever goes on with the run is held from before.
                self.locks.retain(|_, taken_by| *taken_by != intent.seq);
            }
        }
    }

    /// Whether any effect that changes something was performed, or may have been; locks do not count.
    pub fn touched(&self) -> bool {
        self.changed || self.under_way.values().any(touches)
    }

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
    fn an_effect_that_may_have_happened_stays_to_be_taken_back() {
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
    fn what_a_kill_left_in_doubt_is_taken_back_though_doing_it_again_is_refused() {
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
    fn a_lock_that_is_not_had_again_is_held_from_before() {
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
    fn commit_forgets_what_came_before() {
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
        state.apply(&Entry::UnwindStarted { reason: "r".into() }).unwrap();
        assert!(state.apply(&Entry::Committed { seq: seq("3") }).is_err(), "commit while unwinding");
    }
}
