//! What an interrupted run did, by position: its replay is answered from here. Knows no script and no world.
//!
//! Everything up to the last change is *firm*: the script must request the same effects again. Reads after the last
//! change are performed again, because nothing depends on their outcomes yet.
//!
//! A closure of `on_rollback` has a cursor of its own: it is replayed when it is called again, by the process that
//! called it or by a later one. There the error that ended the closure is performed again too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::divergence::Divergence;
use super::entry::{Entry, EntryAccess, Record};
use super::recorded::{
    Frame, RecordedEffect, affects_rollback, closes, container_keys, describe, describe_entry, frame_position,
    is_safety_check,
};
use crate::base::seq::Seq;
use crate::effect::approval::AwaitApproval;
use crate::effect::lock::{AcquireLock, ReleaseLock};
use crate::effect::notify::Notify;
use crate::effect::{Applied, EffectError, ErrorKind, Request};

/// Writes that do not invalidate a safety check before them.
const HARMLESS: [&str; 4] = [AcquireLock::KIND, ReleaseLock::KIND, Notify::KIND, AwaitApproval::KIND];

/// The recorded effects and entries of a run, and how far its replay has come.
#[derive(Debug, Default)]
pub struct ReplayCursor {
    /// The registration of the closure that is replayed; `None` is the script.
    closure: Option<Seq>,
    effects: BTreeMap<Seq, RecordedEffect>,
    frames: BTreeMap<(Seq, &'static str), Frame>,
    modules: BTreeMap<String, String>,
    /// Number of the last firm entry.
    firm: u64,
    /// Number of the last entry that changed the world.
    changed: u64,
    /// Containers that the interrupted effects may have changed.
    touched: BTreeSet<String>,
    /// Whether the run may go no further than it had come.
    closed: bool,
    /// Safety checks that must pass again: the last one of each subject that nothing was done to since.
    checks: BTreeSet<Seq>,
    /// Whether one of them failed this time.
    check_failed: AtomicBool,
    /// Positions that the script has reached again.
    reached: Mutex<BTreeSet<Seq>>,
}

/// What the journal says about an effect that the script requests.
#[derive(Debug)]
pub enum EffectReplay {
    /// It was not performed yet.
    New,
    /// It was performed, with this outcome.
    Done(Value),
    /// It was performed with this outcome, but it is a safety check that must pass again.
    CheckAgain(Value),
    /// It failed.
    Failed(EffectError),
    /// The run was interrupted before it, and may go no further.
    Ended,
}

/// What the journal says about an entry that is no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameReplay {
    /// It is not recorded yet.
    New,
    /// It is recorded.
    Known,
    /// The run was interrupted before it, and may go no further.
    Ended,
}

/// Returns the error at the position where a run was interrupted that may go no further.
pub fn interrupted_here() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "the run was interrupted here").not_applied()
}

impl ReplayCursor {
    /// Reads the records of a run. A `closed` run may go no further than it had come.
    pub fn new(records: &[Record], closed: bool) -> Self {
        Self { closed, ..Self::default() }.read(records)
    }

    /// Reads what the closure of `on_rollback` did that was registered at `registration`.
    pub fn of_closure(records: &[Record], registration: &Seq) -> Self {
        Self { closure: Some(registration.clone()), ..Self::default() }.read(records)
    }

    fn read(mut self, records: &[Record]) -> Self {
        let mut called_again = false;
        for record in records {
            // The process that resumed the run performed the reads before the interruption again.
            if called_again && self.is_forward(&record.entry) {
                self.soften();
                called_again = false;
            }
            called_again |= matches!(record.entry, Entry::RunReopened { .. } | Entry::RollbackFailed { .. });
            if self.closure.is_none() || record.entry.seq().is_some_and(|seq| self.covers(seq)) {
                self.add(record);
            }
        }
        if !self.closed {
            self.soften();
            self.checks = self.outdated();
        }
        self
    }

    /// Returns whether the position belongs to what is replayed: to the script, or to the closure.
    pub fn covers(&self, seq: &Seq) -> bool {
        match &self.closure {
            None => seq.is_from_script(),
            Some(registration) => seq.is_in_rollback_of(registration),
        }
    }

    /// Returns whether the run may go no further than it had come.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns whether the script, or the closure, requested it.
    fn is_forward(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Intended { intent } => self.covers(&intent.seq),
            entry => frame_position(entry).is_some_and(|seq| self.covers(seq)),
        }
    }

    fn outdated(&self) -> BTreeSet<Seq> {
        let mut last: BTreeMap<&str, &RecordedEffect> = BTreeMap::new();
        for effect in self.effects.values().filter(|effect| effect.n > self.changed && is_safety_check(&effect.intent))
        {
            let known = last.entry(&effect.intent.subject).or_insert(effect);
            if known.n < effect.n {
                *known = effect;
            }
        }
        let outdated = last.into_values().filter(|effect| {
            let untouched = container_keys(&effect.intent.args).iter().all(|key| !self.touched.contains(key));
            untouched && matches!(effect.result, Some(Ok(_)))
        });
        outdated.map(|effect| effect.intent.seq.clone()).collect()
    }

    fn add(&mut self, record: &Record) {
        match &record.entry {
            Entry::Intended { intent } => {
                let effect = RecordedEffect { n: record.n, intent: intent.as_ref().clone(), result: None };
                self.effects.insert(intent.seq.clone(), effect);
            }
            Entry::Completed { seq, outcome, .. } => self.ended(record.n, seq, Ok(outcome.clone())),
            Entry::Failed { seq, error, .. } => self.ended(record.n, seq, Err(error.clone())),
            Entry::SourceLoaded { name, digest } => {
                self.modules.insert(name.clone(), digest.clone());
            }
            entry => {
                let Some(seq) = frame_position(entry) else { return };
                if affects_rollback(entry) {
                    self.firm = record.n;
                }
                let frame = Frame { n: record.n, entry: entry.clone(), soft: false };
                self.frames.insert((seq.clone(), entry.name()), frame);
            }
        }
    }

    fn ended(&mut self, n: u64, seq: &Seq, result: Result<Value, EffectError>) {
        let covered = self.covers(seq);
        let Some(effect) = self.effects.get_mut(seq) else { return };
        let applied = result.as_ref().err().is_none_or(|error| error.applied == Applied::Unknown);
        if effect.intent.access == EntryAccess::Write && applied && covered {
            self.firm = n;
            // An interrupted effect may not have happened: the check before it is performed again.
            let known = result.as_ref().err().is_none_or(|error| error.kind != ErrorKind::Interrupted);
            if !known {
                self.touched.extend(container_keys(&effect.intent.args));
            } else if !HARMLESS.contains(&effect.intent.kind.as_str()) {
                self.changed = n;
            }
        }
        effect.result = Some(result);
    }

    /// Forgets the outcomes that nothing depends on, and effects without an outcome.
    fn soften(&mut self) {
        let firm = self.firm;
        let last = self.last_errors();
        let closure = self.closure.clone();
        self.effects.retain(|seq, effect| {
            let known = match &effect.result {
                Some(Ok(_)) => true,
                Some(Err(error)) => error.kind != ErrorKind::Interrupted && !last.contains(seq),
                None => false,
            };
            known && (effect.n <= firm || (closure.is_none() && !seq.is_from_script()))
        });
        for frame in self.frames.values_mut() {
            frame.soft |= frame.n > firm;
        }
    }

    /// Returns the errors that ended the closure: nothing follows them. An error that it caught is answered as it was.
    fn last_errors(&self) -> BTreeSet<Seq> {
        if self.closure.is_none() {
            return BTreeSet::new();
        }
        let positions = || self.effects.keys().chain(self.frames.keys().map(|(seq, _)| seq));
        let failed = self.effects.iter().filter(|(_, effect)| matches!(effect.result, Some(Err(_))));
        let is_last = |seq: &&Seq| !positions().any(|other| other.follows(seq));
        failed.map(|(seq, _)| seq).filter(is_last).cloned().collect()
    }

    /// Returns what became of the effect at this position.
    ///
    /// # Errors
    /// When another effect is recorded there.
    pub fn effect(&self, seq: &Seq, kind: &str, args: &Value) -> Result<EffectReplay, Divergence> {
        let Some(effect) = self.effects.get(seq) else {
            self.nothing_firm_after(seq, || describe(kind, args))?;
            return Ok(self.beyond(seq));
        };
        if effect.intent.kind != kind || effect.intent.args != *args {
            // Closures of `on_finish` depend on how the run ended, which may be different now.
            if !self.covers(seq) {
                return Ok(EffectReplay::New);
            }
            let recorded = describe(&effect.intent.kind, &effect.intent.args);
            return Err(Divergence { seq: seq.clone(), recorded, requested: Some(describe(kind, args)) });
        }
        self.mark_reached(seq);
        Ok(match &effect.result {
            None => self.beyond(seq),
            // The process that was interrupted did not see this error.
            Some(Err(error)) if error.kind == ErrorKind::Interrupted => self.beyond(seq),
            Some(Err(error)) => EffectReplay::Failed(error.clone()),
            Some(Ok(value)) if self.checks.contains(seq) => EffectReplay::CheckAgain(value.clone()),
            Some(Ok(value)) => EffectReplay::Done(value.clone()),
        })
    }

    /// Returns what follows what the run had done.
    fn beyond(&self, seq: &Seq) -> EffectReplay {
        if self.closed && self.covers(seq) { EffectReplay::Ended } else { EffectReplay::New }
    }

    /// Returns whether this entry, which is no effect, is recorded.
    ///
    /// # Errors
    /// When another entry is recorded at its position.
    pub fn frame(&self, entry: &Entry) -> Result<FrameReplay, Divergence> {
        let Some(seq) = frame_position(entry) else { return Ok(FrameReplay::New) };
        match self.frames.get(&(seq.clone(), entry.name())) {
            Some(frame) if frame.entry == *entry => {
                self.mark_reached(seq);
                return Ok(FrameReplay::Known);
            }
            // The run was interrupted in this step, between two effects.
            Some(frame) if closes(&frame.entry) && self.closed => return Ok(FrameReplay::Ended),
            // A closure that is called again may end a step otherwise than the first time.
            Some(frame) if !(frame.soft || closes(&frame.entry) && self.closure.is_some()) => {
                let recorded = describe_entry(&frame.entry);
                return Err(Divergence { seq: seq.clone(), recorded, requested: Some(describe_entry(entry)) });
            }
            _ => {}
        }
        // A step that was open when the run was interrupted is closed for the first time now.
        if closes(entry) {
            return Ok(FrameReplay::New);
        }
        self.nothing_firm_after(seq, || describe_entry(entry))?;
        Ok(if self.closed && self.covers(seq) { FrameReplay::Ended } else { FrameReplay::New })
    }

    /// Notes that a repeated safety check failed: from here on the script may take another path.
    pub fn check_failed(&self) {
        self.check_failed.store(true, Ordering::Release);
    }

    /// Returns the digest of a module's text when it was loaded.
    pub fn module(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(String::as_str)
    }

    /// Returns the first firm entry that the script did not request again.
    pub fn unreached(&self) -> Option<Divergence> {
        if self.closed || self.check_failed.load(Ordering::Acquire) {
            return None;
        }
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = self.firm_after(None).find(|seq| !reached.contains(*seq))?;
        Some(Divergence { seq: seq.clone(), recorded: self.description_at(seq), requested: None })
    }

    /// Checks that after a position without a record nothing firm follows on the same branch.
    fn nothing_firm_after(&self, seq: &Seq, requested: impl Fn() -> String) -> Result<(), Divergence> {
        let Some((number, branch)) = seq.path().split_last() else { return Ok(()) };
        if self.closed || !self.covers(seq) || self.check_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let on_branch = |other: &&Seq| other.path().starts_with(branch);
        let later = |other: &&Seq| other.path().get(branch.len()).is_some_and(|there| there > number);
        match self.firm_after(Some(seq)).take_while(on_branch).find(later) {
            Some(other) => {
                let recorded = self.description_at(other);
                Err(Divergence { seq: other.clone(), recorded, requested: Some(requested()) })
            }
            None => Ok(()),
        }
    }

    /// Returns the firm positions of the script, in order.
    fn firm_after(&self, seq: Option<&Seq>) -> impl Iterator<Item = &Seq> {
        let from = || seq.map_or(Bound::Unbounded, |seq| Bound::Excluded(seq.clone()));
        let effects = self.effects.range((from(), Bound::Unbounded));
        let effects = effects.filter(|(_, effect)| effect.n <= self.firm).map(|(seq, _)| seq);
        let frames = self
            .frames
            .iter()
            .filter(move |((at, _), frame)| affects_rollback(&frame.entry) && seq.is_none_or(|seq| at > seq));
        let positions: BTreeSet<&Seq> = effects.chain(frames.map(|((seq, _), _)| seq)).collect();
        positions.into_iter().filter(|seq| self.covers(seq))
    }

    /// Describes what is recorded at a position.
    fn description_at(&self, seq: &Seq) -> String {
        let effect = self.effects.get(seq).map(|effect| describe(&effect.intent.kind, &effect.intent.args));
        let frame = || self.frames.iter().find(|((at, _), _)| at == seq).map(|(_, frame)| describe_entry(&frame.entry));
        effect.or_else(frame).unwrap_or_default()
    }

    fn mark_reached(&self, seq: &Seq) {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(seq.clone());
    }
}
