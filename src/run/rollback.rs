//! Rolls a run back: its undo stack from the top, through the same gateway. A failed undo is retried and then left to
//! the operator; it is never itself undone.

use std::time::Duration;

use tokio::runtime::Handle;

use super::closure_error::{CallClosure, ClosureError};
use super::remedy::{RemedyContext, after_lost_lock, listed, not_called, remaining};
use crate::base::seq::{Branch, Seq};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, Remaining};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::journal::{Durability, JournalError};
use crate::script::host::on_branch;
use crate::world::clock::Clock;

/// Pauses between the attempts at what must succeed at the end of a run.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// Further attempts, with the longest pause, while the engine does not answer: it may be restarting.
const MORE_WHILE_UNREACHABLE: usize = 15;

/// Why a closure is not called when the script is not available.
const NO_SCRIPT: &str = "the script could not be replayed to its registration";

/// Why a step was not undone.
enum NotUndone {
    /// It cannot be undone. The steps below do not depend on it, unless it is a guard.
    Impossible,
    /// Its closure could not be called. The same holds for the steps below.
    NotCalled(String),
    /// It failed. The steps below may depend on it.
    Failed(String),
    /// Another run deploys the service now, and may use the same names: nothing below may be undone by its name.
    LockLost(String),
}

impl From<EffectError> for NotUndone {
    fn from(error: EffectError) -> Self {
        match error.kind {
            ErrorKind::Locked => Self::LockLost(error.message),
            _ => Self::Failed(error.message),
        }
    }
}

/// What a rollback needs.
pub(crate) struct Rollback<'a> {
    /// Performs the undos.
    pub gateway: &'a Gateway,
    /// Drives the async effects.
    pub handle: &'a Handle,
    /// Measures the pauses.
    pub clock: &'a dyn Clock,
    /// Returns the next position of the run.
    pub next_seq: &'a dyn Fn() -> Seq,
    /// Calls the closure registered at a position; `None` when the script is not available.
    pub call: Option<&'a CallClosure<'a>>,
    /// Called after each step.
    pub after: &'a dyn Fn(),
}

impl Rollback<'_> {
    /// Undoes everything, the newest effect first, and returns what could not be undone. Stops at the first undo that
    /// fails, because the steps below may depend on it. Steps below a guard are not listed.
    pub fn run(&self, reason: &str) -> Vec<Remaining> {
        let ledger = self.gateway.ledger();
        let stack: Vec<UndoStep> = ledger.state().undo_stack.iter().rev().cloned().collect();
        let context = RemedyContext::of(ledger.state().header.as_ref(), ledger.run().as_str());
        let rolling_back = ledger.rolling_back();
        if !rolling_back
            && let Err(error) = ledger.record(Entry::RollbackStarted { reason: reason.into() }, Durability::Power)
        {
            let why = error.to_string();
            return listed(stack.iter(), &context, Some(&why));
        }
        let mut left = Vec::new();
        let mut steps = stack.iter();
        while let Some(step) = steps.next() {
            let undone = self.undo_step(step);
            (self.after)();
            match undone {
                Ok(()) => {}
                Err(NotUndone::LockLost(why)) => {
                    left.push(after_lost_lock(steps.len() + 1, &context, &why));
                    return left;
                }
                Err(why) => {
                    left.push(match &why {
                        NotUndone::Impossible => remaining(step, &context, None),
                        NotUndone::NotCalled(why) => not_called(step, &context, why),
                        NotUndone::Failed(why) | NotUndone::LockLost(why) => remaining(step, &context, Some(why)),
                    });
                    if step.is_guard() {
                        return left;
                    }
                    if matches!(why, NotUndone::Failed(_)) {
                        break;
                    }
                }
            }
        }
        left.extend(listed(steps, &context, None));
        left
    }

    fn undo_step(&self, step: &UndoStep) -> Result<(), NotUndone> {
        match &step.action {
            UndoAction::Impossible { .. } => Err(NotUndone::Impossible),
            UndoAction::Closure { .. } => self.call_closure(&step.seq),
            UndoAction::Effect { kind, args } => {
                let effect =
                    Effect::decode(kind, args.clone()).map_err(|error| NotUndone::Failed(error.to_string()))?;
                Ok(self.undo(&step.seq, &effect)?)
            }
        }
    }

    /// Calls a closure until it completes. What an earlier call completed, in this process or in one that was killed, is
    /// answered from the journal.
    fn call_closure(&self, registration: &Seq) -> Result<(), NotUndone> {
        let Some(call) = self.call else { return Err(NotUndone::NotCalled(NO_SCRIPT.into())) };
        let ledger = self.gateway.ledger();
        let unwritten = |error: JournalError| NotUndone::Failed(error.to_string());
        let mut pauses = Pauses::default();
        loop {
            ledger.replay_closure(registration);
            let error = match on_branch(Branch::of_rollback(registration), || call(registration)) {
                Ok(()) => {
                    let called = Entry::RollbackCalled { seq: registration.clone() };
                    return ledger.record(called, Durability::Power).map_err(unwritten);
                }
                Err(ClosureError::NotCalled(why)) => return Err(NotUndone::NotCalled(why)),
                Err(ClosureError::Failed(error)) => error,
            };
            let failed = Entry::RollbackFailed { seq: registration.clone(), why: error.message.clone() };
            ledger.record(failed, Durability::Process).map_err(unwritten)?;
            let Some(pause) = pauses.after(&error) else { return Err(error.into()) };
            self.handle.block_on(self.clock.sleep(pause));
        }
    }

    fn undo(&self, undoes: &Seq, effect: &Effect) -> Result<(), EffectError> {
        let undo = || self.gateway.undo((self.next_seq)(), undoes.clone(), effect.clone());
        retry_at_end_of_run(self.handle, self.clock, undo).map(drop)
    }
}

/// The pauses between the attempts at one thing.
#[derive(Debug, Default)]
struct Pauses {
    taken: usize,
}

impl Pauses {
    /// Returns the pause before the next attempt; `None` after the last one.
    fn after(&mut self, error: &EffectError) -> Option<Duration> {
        let is_final =
            matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Journal | ErrorKind::Locked | ErrorKind::Diverged);
        let most =
            if error.kind == ErrorKind::Unavailable { PAUSES.len() + MORE_WHILE_UNREACHABLE } else { PAUSES.len() };
        if is_final || self.taken >= most {
            return None;
        }
        let pause = PAUSES[self.taken.min(PAUSES.len() - 1)];
        self.taken += 1;
        Some(pause)
    }
}

/// Performs what must succeed at the end of a run: retries after every error.
///
/// # Errors
/// Returns the last error. A cancellation, a lost journal or a lost lock ends the attempts immediately.
pub(crate) fn retry_at_end_of_run<F: Future<Output = Result<Outcome, EffectError>>>(
    handle: &Handle,
    clock: &dyn Clock,
    perform: impl Fn() -> F,
) -> Result<Outcome, EffectError> {
    let mut pauses = Pauses::default();
    loop {
        let error = match handle.block_on(perform()) {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        let Some(pause) = pauses.after(&error) else { return Err(error) };
        handle.block_on(clock.sleep(pause));
    }
}
