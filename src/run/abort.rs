//! Taking back a run that was killed, from what its journal says.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::runner::release_locks;
use super::unwind::Unwind;
use crate::base::seq::{Branch, Seq};
use crate::gateway::Gateway;
use crate::journal::entry::{Entry, RunEnd, RunStatus};
use crate::journal::{Durability, JournalError};
use crate::world::clock::Clock;

/// Takes back what the run of `gateway`'s ledger did. Effects come back by their journalled undos;
/// closures of `on_rollback` are listed for a person.
///
/// # Errors
/// When the journal cannot be written.
pub fn abort(gateway: &Arc<Gateway>, clock: &dyn Clock, handle: &Handle) -> Result<RunEnd, JournalError> {
    let ledger = gateway.ledger();
    // Below `0`, where no script ever numbers anything: what is done now cannot clash with what was done before.
    let branch = Branch::child(&Seq::unwinding(), attempt(gateway));
    let next_seq = || branch.next();
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

/// Which abort of this run it is, from 1: an abort can be killed too.
fn attempt(gateway: &Gateway) -> u32 {
    let records = gateway.ledger().journal().records(gateway.ledger().run()).unwrap_or_default();
    u32::try_from(records.len()).unwrap_or(u32::MAX)
}
