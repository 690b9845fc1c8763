//! Taking a run back: its undo stack from the top, through the same door. A failed undo is tried again and then
//! left to a person; it is never itself taken back.

use std::time::Duration;

use tokio::runtime::Handle;

use super::remedy::{Reach, listed, remaining};
use crate::base::seq::Seq;
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use crate::gateway::Gateway;
use crate::journal::Durability;
use crate::journal::entry::{Entry, Remaining};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::world::clock::Clock;

/// Pauses between the tries of what must succeed at the end of a run.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// An engine that does not answer at all may be starting anew: so often more, as long as the last of the pauses.
const MORE_WHILE_UNREACHABLE: usize = 15;

/// Calls the closure that was registered at a place; the error is one line.
pub type CallClosure<'a> = dyn Fn(&Seq) -> Result<(), String> + 'a;

/// What taking back needs.
pub struct Unwind<'a> {
    pub gateway: &'a Gateway,
    pub handle: &'a Handle,
    pub clock: &'a dyn Clock,
    /// The next place of the run.
    pub next_seq: &'a dyn Fn() -> Seq,
    /// Calls the closure registered at a place; none when the script is not at hand.
    pub call: Option<&'a CallClosure<'a>>,
    /// Called after each step.
    pub after: &'a dyn Fn(),
}

impl Unwind<'_> {
    /// Takes everything back, the last first; returns what could not be. Stops at the first undo that fails: what is
    /// below it may rest on it. What is below a guard is not even listed.
    pub fn run(&self, reason: &str) -> Vec<Remaining> {
        let ledger = self.gateway.ledger();
        let stack: Vec<UndoStep> = ledger.state().undo_stack.iter().rev().cloned().collect();
        let reach = Reach::of(ledger.state().header.as_ref(), ledger.run().as_str());
        let unwinding = ledger.unwinding();
        if !unwinding
            && let Err(error) = ledger.record(Entry::UnwindStarted { reason: reason.into() }, Durability::Power)
        {
            let why = error.to_string();
            return listed(stack.iter(), &reach, Some(&why));
        }
        let mut left = Vec::new();
        let mut steps = stack.iter();
        for step in steps.by_ref() {
            let taken_back = self.take_back(step);
            (self.after)();
            match taken_back {
                Ok(()) => {}
                Err(why) => {
                    left.push(remaining(step, &reach, why.as_deref()));
                    if step.is_guard() {
                        return left;
                    }
                    if why.is_some() {
                        break;
                    }
                }
            }
        }
        left.extend(listed(steps, &reach, None));
        left
    }

    /// `Err(None)`: there is no way back, and what is below does not depend on it unless this is a guard.
    fn take_back(&self, step: &UndoStep) -> Result<(), Option<String>> {
        match &step.action {
            UndoAction::Impossible { .. } => Err(None),
            UndoAction::Closure { .. } => {
                let Some(call) = self.call else { return Err(None) };
                call(&step.seq).map_err(Some)?;
                let entry = Entry::RollbackCalled { seq: step.seq.clone() };
                self.gateway.ledger().record(entry, Durability::Power).map_err(|error| Some(error.to_string()))
            }
            UndoAction::Effect { kind, args } => {
                let effect = Effect::decode(kind, args.clone()).map_err(|error| Some(error.to_string()))?;
                self.undo(&step.seq, &effect).map_err(|error| Some(error.message))
            }
        }
    }

    fn undo(&self, undoes: &Seq, effect: &Effect) -> Result<(), EffectError> {
        let undo = || self.gateway.undo((self.next_seq)(), undoes.clone(), effect.clone());
        insist(self.handle, self.clock, undo).map(drop)
    }
}

/// Performs what must succeed at the end of a run: tries again, whatever the fault is.
///
/// # Errors
/// The last one. A cancellation, a lost journal or a lost lock ends the tries at once.
pub fn insist<F: Future<Output = Result<Outcome, EffectError>>>(
    handle: &Handle,
    clock: &dyn Clock,
    perform: impl Fn() -> F,
) -> Result<Outcome, EffectError> {
    let mut pauses = PAUSES.iter();
    let mut more = std::iter::repeat_n(&PAUSES[PAUSES.len() - 1], MORE_WHILE_UNREACHABLE);
    loop {
        match handle.block_on(perform()) {
            Ok(outcome) => return Ok(outcome),
            Err(error) => {
                match pauses.next().or_else(|| more.next().filter(|_| error.kind == ErrorKind::Unavailable)) {
                    Some(pause)
                        if !matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Journal | ErrorKind::Locked) =>
                    {
                        handle.block_on(clock.sleep(*pause));
                    }
                    _ => return Err(error),
                }
            }
        }
    }
}
