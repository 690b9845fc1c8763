//! `deployer resolve`: a person has done what a stuck run left.

use clap::Args;
use miette::miette;

use super::fault::Fault;
use super::show::find;
use super::{StateArgs, terminal};
use crate::app::{is_dead, this_holder};
use crate::journal::Durability;
use crate::journal::entry::{Entry, RunStatus};
use crate::journal::run_state::RunState;
use crate::world::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The run's id or its beginning; `last` is the newest
    #[arg(default_value = "last")]
    run: String,
    /// Also a run that was killed and can neither be resumed nor aborted: what it did stays as it is
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// Whether its process is gone without an end of the run.
fn is_killed(state: &RunState) -> Result<bool, Fault> {
    let here = this_holder()?;
    Ok(state.status() == RunStatus::Running && state.header.as_ref().is_some_and(|header| is_dead(header, &here)))
}

fn words(status: RunStatus) -> String {
    match status {
        RunStatus::Running => "not ended".into(),
        status => status.to_string(),
    }
}

pub fn resolve(args: &ResolveArgs) -> Result<u8, Fault> {
    let journal = super::show::journal(&args.state)?;
    let id = find(journal.as_ref(), &args.run)?;
    let mut state = RunState::default();
    for record in journal.records(&id)? {
        state.apply(&record.entry)?;
    }
    let status = state.status();
    if status != RunStatus::Stuck && !(args.force && is_killed(&state)?) {
        let help = match status {
            RunStatus::Running => {
                format!("`deployer resume {id}` goes on with it, `deployer abort {id}` takes it back")
            }
            _ => "see `deployer runs`".into(),
        };
        return Err(Fault::usage(miette!(
            help = help,
            "only a stuck run can be resolved, and run {id} is {}",
            words(status)
        )));
    }
    journal.append(&id, SystemClock::default().unix_ms(), &Entry::RunResolved, Durability::Power)?;
    terminal::print(&format!("run {id} is resolved: the next one may begin\n"))?;
    for remaining in state.end.iter().flat_map(|end| &end.remaining) {
        terminal::print(&format!("  taken as done: {}\n", remaining.what))?;
    }
    Ok(0)
}
