//! The fold: the state of a run after its entries so far. Refuses an entry that cannot follow.

use std::collections::{BTreeMap, BTreeSet};

use super::JournalError;
use super::entry::{Entry, EntryAccess, Intent, RunEnd, RunHeader, RunStatus, UndoRecord};
use crate::base::seq::Seq;
use crate::base::site::Site;
use crate::effect::Applied;

/// What is known of a run.
#[derive(Debug, Default)]
pub struct RunState {
    pub header: Option<RunHeader>,
    /// Effects whose outcome is not known yet.
    pub under_way: BTreeMap<Seq, Intent>,
    /// What must be taken back, the last on top.
    pub undo_stack: Vec<UndoStep>,
    /// Whether any effect that changes something was performed, or may have been.
    pub touched: bool,
    pub committed: bool,
    pub unwinding: bool,
    /// Services whose lock the run holds.
    pub locks: BTreeSet<String>,
    pub end: Option<RunEnd>,
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
    /// A closure of the script, known by the place of its registration.
    Closure,
    Impossible {
        why: String,
    },
}

impl RunState {
    /// Takes one more entry in.
    ///
    /// # Errors
    /// [`JournalError::Illegal`] when it cannot follow; the state is unchanged then.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let illegal = |why: &str| Err(JournalError::Illegal { entry: entry.name(), why: why.into() });
        if self.end.is_some() {
            return illegal("the run has ended");
        }
        if self.header.is_none() && !matches!(entry, Entry::RunStarted { .. }) {
            return illegal("the run has not started");
        }
        match entry {
            Entry::RunStarted { header } => {
                if self.header.is_some() {
                    return illegal("the run has started already");
                }
                self.header = Some(header.as_ref().clone());
            }
            Entry::Intended { intent } => {
                if self.under_way.contains_key(&intent.seq) {
                    return illegal("this effect is under way already");
                }
                self.intend(intent);
            }
            Entry::Completed { seq, .. } => match self.under_way.remove(seq) {
                None => return illegal("no such effect is under way"),
                Some(intent) => self.complete(&intent),
            },
            Entry::Failed { seq, error, .. } => match self.under_way.remove(seq) {
                None => return illegal("no such effect is under way"),
                Some(_) if error.applied == Applied::No => {
                    self.undo_stack.retain(|step| step.seq != *seq);
                }
                Some(_) => {}
            },
            Entry::RollbackRegistered { seq, site } => self.undo_stack.push(UndoStep {
                seq: seq.clone(),
                action: UndoAction::Closure,
                site: site.clone(),
                of: "on_rollback".into(),
            }),
            Entry::RollbackCalled { seq } => self.undo_stack.retain(|step| step.seq != *seq),
            Entry::Committed { .. } => {
                if self.unwinding {
                    return illegal("the run is being taken back");
                }
                self.committed = true;
                self.undo_stack.clear();
            }
            Entry::UnwindStarted { .. } => self.unwinding = true,
            Entry::RunEnded { end } => self.end = Some(end.as_ref().clone()),
            Entry::SourceLoaded { .. }
            | Entry::StepOpened { .. }
            | Entry::StepClosed { .. }
            | Entry::ParallelOpened { .. }
            | Entry::ParallelClosed { .. }
            | Entry::Logged { .. } => {}
        }
        Ok(())
    }

    fn intend(&mut self, intent: &Intent) {
        if intent.access == EntryAccess::Write && intent.kind != "lock" {
            self.touched = true;
        }
        // Nothing that is done while taking back is itself taken back.
        if !self.unwinding {
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
        if let Some(undone) = &intent.undoes {
            self.undo_stack.retain(|step| step.seq != *undone);
        }
        match intent.kind.as_str() {
            "lock" => drop(self.locks.insert(intent.subject.clone())),
            "unlock" => drop(self.locks.remove(&intent.subject)),
            _ => {}
        }
    }

    pub fn status(&self) -> RunStatus {
        self.end.as_ref().map_or(RunStatus::Running, |end| end.status)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::effect::{EffectError, ErrorKind};
    use crate::journal::entry::{EntryRecovery, RunHeader};

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
            version: "0".into(),
            host: "h".into(),
            pid: 1,
            boot_id: "b".into(),
            pid_namespace: String::new(),
            process_start: 1,
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
