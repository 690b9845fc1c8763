//! Runs that were killed and neither resumed nor aborted.

use serde_json::Value;

use crate::journal::entry::{RunHeader, RunStatus, RunSummary};
use crate::journal::{Journal, JournalError};

/// How far back the history is searched.
const SEARCHED: usize = 1_000;

/// The newest killed run of the same service on the same engine. `is_dead` tells whether the process of a run is gone.
///
/// # Errors
/// When the journal cannot be read.
pub fn unfinished(
    journal: &dyn Journal,
    params: &Value,
    address: &str,
    is_dead: &dyn Fn(&RunHeader) -> bool,
) -> Result<Option<RunSummary>, JournalError> {
    let Some(service) = service_of(params) else { return Ok(None) };
    Ok(journal.runs(SEARCHED)?.into_iter().find(|run| {
        run.status == RunStatus::Running
            && run.header.address == address
            && service_of(&run.header.params) == Some(service)
            && is_dead(&run.header)
    }))
}

fn service_of(params: &Value) -> Option<&str> {
    params.get("service")?.as_str()
}
