//! `deployer resolve`: marks a stuck run as resolved.

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
use super::show::find;
use super::{StateArgs, terminal};
use crate::app::{is_dead, this_holder};
use crate::journal::Durability;
use crate::journal::entry::{Entry, RunStatus};
use crate::journal::run_state::RunState;
use crate::world::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// Id of the run or the beginning of it; `last` is the newest run
    #[arg(default_value = "last")]
    run: String,
    /// Also resolve an interrupted run that can neither be resumed nor aborted; its changes stay
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// Returns whether the process of an unfinished run is dead.
fn is_interrupted(state: &RunState) -> Result<bool, CommandError> {
    let here = this_holder()?;
    Ok(state.status() == RunStatus::Running && state.header.as_ref().is_some_and(|header| is_dead(header, &here)))
}

fn status_text(status: RunStatus) -> String {
    match status {
        RunStatus::Running => "unfinished".into(),
        status => status.to_string(),
    }
}

pub fn resolve(args: &ResolveArgs) -> Result<u8, CommandError> {
    let journal = super::show::journal(&args.state)?;
    let id = find(journal.as_ref(), &args.run, &args.state)?;
    let mut state = RunState::default();
    let mut last = 0;
    for record in journal.records(&id)? {
        state.apply(&record.entry)?;
        last = record.n;
    }
    let status = state.status();
    if status != RunStatus::Stuck && !(args.force && is_interrupted(&state)?) {
        let help = match status {
            RunStatus::Running => {
                let command = |command: &str| args.state.command(&format!("deployer {command} {id}"));
                format!("`{}` finishes it, `{}` rolls it back", command("resume"), command("abort"))
            }
            _ => format!("`{}` lists the runs", args.state.command("deployer runs")),
        };
        return Err(CommandError::usage(miette!(
            help = help,
            "run {id} is {}, and only a stuck run can be resolved",
            status_text(status)
        )));
    }
    // Refused when another process has resumed the run meanwhile.
    let now_ms = SystemClock::default().unix_ms();
    journal.append_as(&id, Some(last + 1), now_ms, &Entry::RunResolved, Durability::Power)?;
    terminal::print(&format!("run {id} is resolved; new runs of its service can begin\n"))?;
    for remaining in state.end.iter().flat_map(|end| &end.remaining) {
        terminal::print(&format!("  considered done: {}\n", remaining.what))?;
    }
    Ok(0)
}
