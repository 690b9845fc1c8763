//! Finds runs that were interrupted and neither resumed nor aborted, and runs that are stuck.

use serde_json::Value;

use crate::journal::entry::{RunHeader, RunStatus, RunSummary};
use crate::journal::{Journal, JournalError};

/// How many runs of the history are searched.
const SEARCHED: usize = 1_000;

/// An engine: the same one may have several addresses.
#[derive(Clone, Copy, Debug)]
pub struct EngineIdentity<'a> {
    /// What it calls itself; empty when that is not known.
    pub id: &'a str,
    /// Where it is.
    pub address: &'a str,
}

impl EngineIdentity<'_> {
    fn is_of(&self, header: &RunHeader) -> bool {
        match self.id.is_empty() || header.engine_id.is_empty() {
            true => header.address == self.address,
            false => header.engine_id == self.id,
        }
    }
}

/// Returns the newest interrupted or stuck run of the same service on the same engine. `is_dead` tells whether the
/// process of a run no longer exists.
///
/// # Errors
/// When the journal cannot be read.
pub fn unfinished(
    journal: &dyn Journal,
    params: &Value,
    engine: EngineIdentity<'_>,
    is_dead: &dyn Fn(&RunHeader) -> bool,
) -> Result<Option<RunSummary>, JournalError> {
    let Some(service) = service_of(params) else { return Ok(None) };
    Ok(journal.runs(SEARCHED)?.into_iter().find(|run| {
        let open = match run.status {
            RunStatus::Running => is_dead(&run.header),
            status => status == RunStatus::Stuck,
        };
        open && engine.is_of(&run.header) && service_of(&run.header.params) == Some(service)
    }))
}

fn service_of(params: &Value) -> Option<&str> {
    params.get("service")?.as_str()
}
