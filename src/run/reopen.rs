//! Reopens an interrupted run: acquires its locks again, settles the effects whose outcome is unknown, then executes the
//! script again from its first line.

use std::collections::BTreeSet;

use tokio::runtime::Handle;

use super::rollback::retry_at_end_of_run;
use super::runner::Runner;
use crate::base::duration_text::DurationText;
use crate::base::seq::{Branch, Seq};
use crate::effect::container::RemoveContainer;
use crate::effect::lock::AcquireLock;
use crate::effect::sqlite::DryRunMigration;
use crate::effect::volume::RemoveVolume;
use crate::effect::{Applied, Effect, EffectError, ErrorKind, Observation, PendingEffect, Recovery, Request};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, EntryAccess, EntryRecovery, Intent, Process, Purpose, RunEnd, UndoRecord};
use crate::journal::{Durability, JournalError};
use crate::world::clock::Clock;

/// How to reopen an interrupted run.
pub struct Reopening {
    /// Whether to finish it or to roll it back.
    pub purpose: Purpose,
    /// The process that reopens it.
    pub process: Process,
    /// What the operator knows about effects whose outcome deployer cannot find out.
    pub decisions: Decisions,
}

/// Positions of effects that the operator has decided on.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// To be performed (again).
    pub redo: BTreeSet<Seq>,
    /// To be treated as done.
    pub skip: BTreeSet<Seq>,
}

/// Why a run was not reopened. It is unchanged.
#[derive(Debug)]
pub enum ReopenError {
    /// The journal failed.
    Journal(JournalError),
    /// Acquiring a lock, or reading from the world, failed.
    Effect(EffectError),
    /// Only the operator can know whether these happened.
    Undecided(Vec<Intent>),
    /// A decision on a position where there is nothing to decide.
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
    /// Finishes the interrupted run of this ledger, or rolls it back. Blocks, as [`Runner::run`] does.
    ///
    /// # Errors
    /// When it could not be reopened; it can be retried.
    pub fn reopen(self, handle: &Handle, reopening: &Reopening) -> Result<RunEnd, ReopenError> {
        let ledger = self.gateway.ledger();
        let interrupted = InterruptedRun::open(&self.gateway, self.clock.as_ref(), handle, reopening)?;
        let closed = self.is_closed(reopening.purpose);
        // With nothing to undo, the locks are not needed.
        if !closed || !ledger.state().undo_stack.is_empty() {
            interrupted.acquire_locks()?;
        }
        interrupted.remove_sandboxes()?;
        // What the script was doing is undone, whatever became of it; a closure is called to its end.
        interrupted.settle(&reopening.decisions, |seq| !closed || seq.is_in_closure())?;
        ledger.replay(closed)?;
        Ok(self.drive(handle, Some(reopening.purpose)))
    }
}

/// A run that another process started and this one has reopened.
pub(super) struct InterruptedRun<'a> {
    gateway: &'a Gateway,
    clock: &'a dyn Clock,
    handle: &'a Handle,
    branch: Branch,
}

impl<'a> InterruptedRun<'a> {
    /// Records that this process reopened the run.
    pub fn open(
        gateway: &'a Gateway,
        clock: &'a dyn Clock,
        handle: &'a Handle,
        reopening: &Reopening,
    ) -> Result<Self, ReopenError> {
        let ledger = gateway.ledger();
        let entry = Entry::RunReopened { process: reopening.process.clone(), purpose: reopening.purpose };
        ledger.record(entry, Durability::Power)?;
        let branch = Branch::outside_script(ledger.state().reopened);
        Ok(Self { gateway, clock, handle, branch })
    }

    /// Acquires the locks of the run, which a process that no longer exists holds.
    pub fn acquire_locks(&self) -> Result<(), ReopenError> {
        let services: Vec<String> = self.gateway.ledger().state().locks.keys().cloned().collect();
        for service in services {
            let acquire: Effect = AcquireLock { service, wait: DurationText::default() }.into();
            self.handle.block_on(self.gateway.perform_last(self.branch.next(), acquire))?;
        }
        Ok(())
    }

    /// Removes the copies of databases that interrupted dry runs have left. They may be repeated, or not.
    pub fn remove_sandboxes(&self) -> Result<(), ReopenError> {
        let ledger = self.gateway.ledger();
        let under_way: Vec<Seq> = {
            let state = ledger.state();
            let dry_runs = state.under_way.values().filter(|intent| intent.kind == DryRunMigration::KIND);
            dry_runs.map(|intent| intent.seq.clone()).collect()
        };
        for seq in under_way {
            let name = DryRunMigration::sandbox_name(ledger.run(), &seq);
            let container: Effect = RemoveContainer {
                container: name.as_str().into(),
                force: true,
                volumes: true,
                missing_ok: true,
                disposable: true,
                only_own: true,
            }
            .into();
            let volume: Effect = RemoveVolume { name, missing_ok: true, disposable: true, only_own: true }.into();
            for effect in [container, volume] {
                retry_at_end_of_run(self.handle, self.clock, || {
                    self.gateway.perform_last(self.branch.next(), effect.clone())
                })?;
            }
        }
        Ok(())
    }

    /// Finds out what became of every effect that was under way at a position that counts.
    pub fn settle(&self, decisions: &Decisions, counts: impl Fn(&Seq) -> bool) -> Result<(), ReopenError> {
        let mut under_way: Vec<Intent> = self.gateway.ledger().state().under_way.values().cloned().collect();
        under_way.retain(|intent| counts(&intent.seq));
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

    /// Returns the entry that the interrupted process did not write.
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
            && let Some(outcome) = effect.spec().assumed_outcome()
        {
            return Ok(happened(&outcome));
        }
        let evidence = match effect.spec().recovery() {
            Recovery::Observe => effect.spec().evidence(),
            Recovery::Repeat | Recovery::Ask => None,
        };
        let Some(evidence) = evidence else { return Ok(interrupted(seq, Applied::Unknown)) };
        let (handle, clock) = (self.handle, self.clock);
        let seen =
            retry_at_end_of_run(handle, clock, || self.gateway.perform_last(self.branch.next(), evidence.clone()))?;
        let undo = match &intent.undo {
            UndoRecord::Effect { kind, args } => Some(decode(kind, args)?),
            UndoRecord::Nothing | UndoRecord::Impossible { .. } => None,
        };
        let effect_id = format!("{}/{}", self.gateway.ledger().run(), intent.seq);
        let pending = PendingEffect { effect_id: &effect_id, undo: undo.as_ref() };
        match (effect.spec().observe(pending, &seen), &undo) {
            (Observation::Done(outcome), _) => Ok(happened(&outcome)),
            // A partly applied effect is undone now, and performed again by the replay.
            (Observation::Partial, Some(undo)) => {
                let seq = intent.seq.clone();
                retry_at_end_of_run(handle, clock, || {
                    self.gateway.undo(self.branch.next(), seq.clone(), undo.clone())
                })?;
                Ok(interrupted(intent.seq.clone(), Applied::No))
            }
            (Observation::Partial | Observation::NotDone, _) => Ok(interrupted(intent.seq.clone(), Applied::Unknown)),
        }
    }
}

fn decode(kind: &str, args: &serde_json::Value) -> Result<Effect, EffectError> {
    Effect::decode(kind, args.clone()).map_err(|error| {
        EffectError::new(ErrorKind::Internal, format!("the recorded `{kind}` cannot be read: {error}")).not_applied()
    })
}

fn interrupted(seq: Seq, applied: Applied) -> Entry {
    let error = EffectError::new(ErrorKind::Interrupted, "the run was interrupted before this effect ended");
    Entry::Failed { seq, error: EffectError { applied, ..error }, elapsed_ms: 0 }
}
