//! Going on with a run that was killed: the lock again, then what nobody knows the outcome of, then the script once more
//! from its first line.

use std::collections::BTreeSet;

use tokio::runtime::Handle;

use super::runner::Runner;
use super::unwind::insist;
use crate::base::duration_text::DurationText;
use crate::base::seq::{Branch, Seq};
use crate::effect::lock::AcquireLock;
use crate::effect::{Applied, Effect, EffectError, ErrorKind, Recovery, Trace, Verdict};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, EntryAccess, EntryRecovery, Intent, Process, Purpose, RunEnd, UndoRecord};
use crate::journal::{Durability, JournalError};
use crate::world::clock::Clock;

/// A killed run, and what is wanted of it.
pub struct Reopening {
    pub purpose: Purpose,
    /// Who goes on with it.
    pub process: Process,
    /// What a person says of effects that only a person knows the outcome of.
    pub decisions: Decisions,
}

/// Places of effects that a person has decided on.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// To be done (again).
    pub redo: BTreeSet<Seq>,
    /// To be taken as done.
    pub skip: BTreeSet<Seq>,
}

/// Why a run was not gone on with. It is as it was.
#[derive(Debug)]
pub enum ReopenError {
    Journal(JournalError),
    /// The lock, or a look at the world, failed.
    Effect(EffectError),
    /// Nobody but a person can know whether these happened.
    Undecided(Vec<Intent>),
    /// A decision on a place where there is nothing to decide.
    NothingToDecide(Seq),
}

impl From<JournalError> for ReopenError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<EffectError> for ReopenError {
    fn from(error: EffectError) -> Self {
        Self::Effect(error)
    }
}

impl Runner {
    /// Goes on with the run of this ledger, which was reopened; or takes it back. Blocks, as [`Runner::run`] does.
    ///
    /// # Errors
    /// When it could not be gone on with; it can be tried again.
    pub fn reopen(self, handle: &Handle, reopening: &Reopening) -> Result<RunEnd, ReopenError> {
        let ledger = self.gateway.ledger();
        let killed = Killed::open(&self.gateway, self.clock.as_ref(), handle, reopening)?;
        let closed = self.is_closed(reopening.purpose);
        // Without anything to take back there is nothing to keep others from.
        if !closed || !ledger.state().undo_stack.is_empty() {
            killed.take_locks()?;
        }
        if !closed {
            killed.settle(&reopening.decisions)?;
        }
        ledger.replay(closed)?;
        Ok(self.drive(handle, Some(reopening.purpose)))
    }
}

/// A run that another process began and this one has opened.
pub(super) struct Killed<'a> {
    gateway: &'a Gateway,
    clock: &'a dyn Clock,
    handle: &'a Handle,
    branch: Branch,
}

impl<'a> Killed<'a> {
    /// Writes down that this process goes on with it.
    pub fn open(
        gateway: &'a Gateway,
        clock: &'a dyn Clock,
        handle: &'a Handle,
        reopening: &Reopening,
    ) -> Result<Self, ReopenError> {
        let ledger = gateway.ledger();
        let entry = Entry::RunReopened { process: reopening.process.clone(), purpose: reopening.purpose };
        ledger.record(entry, Durability::Power)?;
        let branch = Branch::beside_script(ledger.state().reopened);
        Ok(Self { gateway, clock, handle, branch })
    }

    /// The run's locks are in the name of a process that is gone.
    pub fn take_locks(&self) -> Result<(), ReopenError> {
        let services: Vec<String> = self.gateway.ledger().state().locks.keys().cloned().collect();
        for service in services {
            let acquire: Effect = AcquireLock { service, wait: DurationText::default() }.into();
            self.handle.block_on(self.gateway.perform_last(self.branch.next(), acquire))?;
        }
        Ok(())
    }

    /// Finds out what became of every effect that was under way.
    pub fn settle(&self, decisions: &Decisions) -> Result<(), ReopenError> {
        let under_way: Vec<Intent> = self.gateway.ledger().state().under_way.values().cloned().collect();
        let asks = |intent: &&Intent| intent.recovery == EntryRecovery::Ask && intent.access == EntryAccess::Write;
        let decided = |seq: &Seq| decisions.redo.contains(seq) || decisions.skip.contains(seq);
        let mut decisions_made = decisions.redo.iter().chain(&decisions.skip);
        if let Some(seq) = decisions_made.find(|seq| !under_way.iter().filter(asks).any(|intent| intent.seq == **seq)) {
            return Err(ReopenError::NothingToDecide(seq.clone()));
        }
        let undecided: Vec<Intent> =
            under_way.iter().filter(asks).filter(|intent| !decided(&intent.seq)).cloned().collect();
        if !undecided.is_empty() {
            return Err(ReopenError::Undecided(undecided));
        }
        for intent in under_way {
            let entry = self.outcome_of(decisions, &intent)?;
            self.gateway.ledger().record(entry, Durability::Power)?;
        }
        Ok(())
    }

    /// The entry that its process did not come to write.
    fn outcome_of(&self, decisions: &Decisions, intent: &Intent) -> Result<Entry, ReopenError> {
        let seq = intent.seq.clone();
        if intent.access == EntryAccess::Read {
            return Ok(interrupted(seq, Applied::No));
        }
        let effect = decode(&intent.kind, &intent.args)?;
        let happened = |outcome: &crate::effect::Outcome| Entry::Completed {
            seq: seq.clone(),
            outcome: outcome.value(),
            elapsed_ms: 0,
        };
        if decisions.skip.contains(&intent.seq)
            && let Some(outcome) = effect.facts().taken_as_done()
        {
            return Ok(happened(&outcome));
        }
        let evidence = match effect.facts().recovery() {
            Recovery::Observe => effect.facts().evidence(),
            Recovery::Repeat | Recovery::Ask => None,
        };
        let Some(evidence) = evidence else { return Ok(interrupted(seq, Applied::Unknown)) };
        let (handle, clock) = (self.handle, self.clock);
        let seen = insist(handle, clock, || self.gateway.perform_last(self.branch.next(), evidence.clone()))?;
        let undo = match &intent.undo {
            UndoRecord::Effect { kind, args } => Some(decode(kind, args)?),
            UndoRecord::Nothing | UndoRecord::Impossible { .. } => None,
        };
        let effect_id = format!("{}/{}", self.gateway.ledger().run(), intent.seq);
        let trace = Trace { effect_id: &effect_id, undo: undo.as_ref() };
        match (effect.facts().verdict(trace, &seen), &undo) {
            (Verdict::Happened(outcome), _) => Ok(happened(&outcome)),
            // It is on the pile of undos as well: what was half done is taken away, and done again.
            (Verdict::Partly, Some(undo)) => {
                let seq = intent.seq.clone();
                insist(handle, clock, || self.gateway.undo(self.branch.next(), seq.clone(), undo.clone()))?;
                Ok(interrupted(intent.seq.clone(), Applied::No))
            }
            (Verdict::Partly | Verdict::Not, _) => Ok(interrupted(intent.seq.clone(), Applied::Unknown)),
        }
    }
}

fn decode(kind: &str, args: &serde_json::Value) -> Result<Effect, EffectError> {
    Effect::decode(kind, args.clone()).map_err(|error| {
        EffectError::new(ErrorKind::Internal, format!("the journal's `{kind}` cannot be read: {error}")).not_applied()
    })
}

fn interrupted(seq: Seq, applied: Applied) -> Entry {
    let error = EffectError::new(ErrorKind::Interrupted, "the run was killed before the answer came");
    Entry::Failed { seq, error: EffectError { applied, ..error }, elapsed_ms: 0 }
}
