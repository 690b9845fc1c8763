//! What `status` and `gc` read: the inventory of the engine and, if there is a journal, the open runs.

use std::collections::BTreeSet;

use miette::IntoDiagnostic;

use super::EngineArgs;
use super::command_error::CommandError;
use crate::app::{App, is_dead, open_world};
use crate::journal::Journal;
use crate::journal::entry::{RunStatus, RunSummary};
use crate::report::history;
use crate::run::inventory::{Inventory, UnfinishedRun, UnfinishedState};
use crate::world::process_identity::ProcessIdentity;

/// How many runs of the journal are searched.
const SEARCHED: usize = 1_000;

/// The state of one engine.
pub struct EngineState {
    pub inventory: Inventory,
    pub open: Vec<UnfinishedRun>,
    pub engine: &'static str,
    pub address: String,
    pub now_ms: i64,
}

/// Reads the engine and the journal. Creates no journal.
///
/// # Errors
/// When the engine or the journal cannot be read.
pub async fn query(args: &EngineArgs) -> Result<EngineState, CommandError> {
    let here = ProcessIdentity::this_process().into_diagnostic()?;
    let (world, address) = open_world(&args.options()?, &here).await?;
    let journal = App::journal(args.state.state.as_ref())?;
    let inventory = Inventory::take(world.as_ref()).await?;
    let open = match &journal {
        Some(journal) => open_runs(journal.as_ref(), &address, &here)?,
        None => Vec::new(),
    };
    let (engine, now_ms) = (world.name(), world.clock().unix_ms());
    Ok(EngineState { inventory, open, engine, address, now_ms })
}

/// Returns the unfinished and stuck runs on this engine, one entry for each service of a run.
///
/// # Errors
/// When the journal cannot be read.
pub fn open_runs(
    journal: &dyn Journal,
    address: &str,
    here: &ProcessIdentity,
) -> Result<Vec<UnfinishedRun>, CommandError> {
    let mut open = Vec::new();
    // A stuck run does not count once a later run of the service has succeeded, got stuck or was resolved.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for run in journal.runs(SEARCHED)?.into_iter().filter(|run| run.header.address == address) {
        let services = services(&run);
        let state = match run.status {
            RunStatus::Running if is_dead(&run.header, here) => Some(UnfinishedState::Killed),
            RunStatus::Running => Some(UnfinishedState::UnderWay),
            RunStatus::Stuck if services.iter().flatten().any(|service| !seen.contains(service)) => {
                Some(UnfinishedState::Stuck)
            }
            _ => None,
        };
        if let Some(state) = state {
            let open_run = |service: &Option<String>| UnfinishedRun {
                run: run.run.clone(),
                service: service.clone(),
                state,
                state_flags: run.header.state_flags.clone(),
            };
            open.extend(services.iter().map(open_run));
        }
        if matches!(run.status, RunStatus::Succeeded | RunStatus::Stuck | RunStatus::Resolved) {
            seen.extend(services.into_iter().flatten());
        }
    }
    Ok(open)
}

/// Returns the services of a run; one `None` if its parameters name none.
fn services(run: &RunSummary) -> Vec<Option<String>> {
    let services = history::services(&run.header);
    if services.is_empty() { vec![None] } else { services.into_iter().map(|name| Some(name.to_owned())).collect() }
}
