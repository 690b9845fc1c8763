//! Runs that were killed and neither resumed nor aborted, and those that are stuck.

use serde_json::Value;

use crate::journal::entry::{RunHeader, RunStatus, RunSummary};
use crate::journal::{Journal, JournalError};

/// How far back the history is searched.
const SEARCHED: usize = 1_000;

/// The newest killed or stuck run of the same service on the same engine. `is_dead` tells whether the process of a run is gone.
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
        let open = match run.status {
            RunStatus::Running => is_dead(&run.header),
            status => status == RunStatus::Stuck,
        };
        open && run.header.address == address && service_of(&run.header.params) == Some(service)
    }))
}

fn service_of(params: &Value) -> Option<&str> {
    params.get("service")?.as_str()
}
