//! Taking back a run that was killed, from what its journal says.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::runner::release_locks;
use super::unwind::Unwind;
use crate::base::duration_text::DurationText;
use crate::base::seq::{Branch, Seq};
use crate::effect::lock::AcquireLock;
use crate::effect::{Effect, EffectError};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, RunEnd, RunStatus};
use crate::journal::{Durability, JournalError};
use crate::world::clock::Clock;

/// Takes back what the run of `gateway`'s ledger did. Effects come back by their journalled undos;
/// closures of `on_rollback` are listed for a person.
///
/// When this process cannot become the holder of the run's locks, nothing is taken back: the run stays as it is,
/// [`RunStatus::Running`], with why in `error` and what to type in `report`.
///
/// # Errors
/// When the journal cannot be written.
pub fn abort(gateway: &Arc<Gateway>, clock: &dyn Clock, handle: &Handle) -> Result<RunEnd, JournalError> {
    let ledger = gateway.ledger();
    // Below `0`, where no script ever numbers anything: what is done now cannot clash with what was done before.
    let branch = Branch::child(&Seq::unwinding(), attempt(gateway));
    let next_seq = || branch.next();
    if let Err(error) = hold_locks(gateway, handle, &next_seq) {
        return Ok(refused(gateway, &error));
    }
    let unwind = Unwind { gateway, handle, clock, next_seq: &next_seq, call: None };
    let remaining = unwind.run("aborted");
    release_locks(gateway, handle, clock, &next_seq);
    let status = if remaining.is_empty() { RunStatus::Aborted } else { RunStatus::Stuck };
    let end = RunEnd {
        status,
        exit_code: if status == RunStatus::Aborted { 0 } else { status.exit_code() },
        error: Some("killed, and aborted".into()),
        report: None,
        remaining,
        committed: ledger.state().committed,
        value: serde_json::Value::Null,
        facts: Default::default(),
    };
    ledger.record(Entry::RunEnded { end: Box::new(end.clone()) }, Durability::Power)?;
    Ok(end)
}

fn refused(gateway: &Gateway, error: &EffectError) -> RunEnd {
    RunEnd {
        status: RunStatus::Running,
        exit_code: RunStatus::Locked.exit_code(),
        error: Some(error.message.clone()),
        report: error.hint.clone(),
        remaining: Vec::new(),
        committed: gateway.ledger().state().committed,
        value: serde_json::Value::Null,
        facts: Default::default(),
    }
}

/// Makes this process the holder of every lock of the run, so that nobody takes one over in the middle.
/// A run with nothing to take back needs none.
fn hold_locks(gateway: &Gateway, handle: &Handle, next_seq: &dyn Fn() -> Seq) -> Result<(), EffectError> {
    let (locks, idle) = {
        let state = gateway.ledger().state();
        (state.locks.clone(), state.undo_stack.is_empty())
    };
    if idle {
        return Ok(());
    }
    for service in locks {
        let lock: Effect = AcquireLock { service, wait: DurationText::default() }.into();
        handle.block_on(gateway.perform_last(next_seq(), lock))?;
    }
    Ok(())
}

/// Which abort of this run it is, from 1: an abort can be killed too.
fn attempt(gateway: &Gateway) -> u32 {
    let records = gateway.ledger().journal().records(gateway.ledger().run()).unwrap_or_default();
    u32::try_from(records.len()).unwrap_or(u32::MAX)
}
