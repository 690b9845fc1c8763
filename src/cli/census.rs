//! What `status` and `gc` ask alike: the engine for the truth, and the journal, where there is one, for open runs.

use std::collections::BTreeSet;

use miette::{IntoDiagnostic, Report};
use serde_json::Value;

use super::EngineArgs;
use super::fault::Fault;
use crate::app::{App, is_dead, open_world};
use crate::journal::Journal;
use crate::journal::entry::{RunStatus, RunSummary};
use crate::run::census::{Census, OpenRun, Openness};
use crate::script::diagnostic::effect_diagnostic;
use crate::world::holder::Holder;

/// How far back the journal is searched.
const SEARCHED: usize = 1_000;

/// The truth of one engine.
pub struct Found {
    pub census: Census,
    pub open: Vec<OpenRun>,
    pub engine: &'static str,
    pub address: String,
    pub now_ms: i64,
}

/// Asks the engine; makes no journal where there is none.
pub async fn look(args: &EngineArgs) -> Result<Found, Fault> {
    let here = Holder::this_process().into_diagnostic()?;
    let (world, address) = open_world(&args.options()?, &here).await?;
    let journal = App::journal(args.state.state.as_ref())?;
    let census = Census::take(world.as_ref()).await.map_err(|error| Report::new(effect_diagnostic(&error)))?;
    let open = match &journal {
        Some(journal) => open_runs(journal.as_ref(), &address, &here)?,
        None => Vec::new(),
    };
    let (engine, now_ms) = (world.name(), world.clock().unix_ms());
    Ok(Found { census, open, engine, address, now_ms })
}

/// Runs on this engine that have no good end, one entry for each service that they name.
pub fn open_runs(journal: &dyn Journal, address: &str, here: &Holder) -> Result<Vec<OpenRun>, Fault> {
    let mut open = Vec::new();
    // A later run of the service has dealt with what an earlier one left.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for run in journal.runs(SEARCHED)?.into_iter().filter(|run| run.header.address == address) {
        let services = services(&run);
        let state = match run.status {
            RunStatus::Running if is_dead(&run.header, here) => Some(Openness::Killed),
            RunStatus::Running => Some(Openness::UnderWay),
            RunStatus::Stuck if services.iter().flatten().any(|service| !seen.contains(service)) => {
                Some(Openness::Stuck)
            }
            _ => None,
        };
        if let Some(state) = state {
            let one = |service: &Option<String>| OpenRun {
                run: run.run.clone(),
                service: service.clone(),
                state,
                state_flags: run.header.state_flags.clone(),
            };
            open.extend(services.iter().map(one));
        }
        if matches!(run.status, RunStatus::Succeeded | RunStatus::Stuck | RunStatus::Resolved) {
            seen.extend(services.into_iter().flatten());
        }
    }
    Ok(open)
}

/// The services that the run's parameters name; one that is none where they name none.
fn services(run: &RunSummary) -> Vec<Option<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let params = &run.header.params;
    match (&params["service"], &params["services"]) {
        (Value::String(service), _) => vec![Some(service.clone())],
        (_, Value::Array(services)) if !services.is_empty() => services.iter().map(text).collect(),
        _ => vec![None],
    }
}
