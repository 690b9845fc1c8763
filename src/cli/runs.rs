//! `deployer runs`

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use miette::IntoDiagnostic;

use super::command_error::CommandError;
use super::output_format::FormatArgs;
use super::{StateArgs, completion_values, runs_prune, terminal};
use crate::app::{App, is_dead};
use crate::report::history::{History, services};
use crate::world::clock::{Clock, SystemClock};
use crate::world::process_identity::ProcessIdentity;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    command: Option<RunsCommand>,
    /// How many runs to list, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// List only runs of this service
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion_values::services))]
    service: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Subcommand)]
enum RunsCommand {
    /// Remove old runs from the history
    ///
    /// Removes runs that have ended, and the scripts that only they used. Never removes an unfinished or stuck run. Asks
    /// first; without a terminal it only lists, unless there is `--yes`.
    Prune(runs_prune::PruneArgs),
}

pub fn runs(args: &RunsArgs) -> Result<u8, CommandError> {
    if let Some(RunsCommand::Prune(args)) = &args.command {
        return runs_prune::prune(args);
    }
    let journal = App::journal(args.state.state.as_ref())?;
    let runs = match (&journal, &args.service) {
        (Some(journal), None) => journal.runs(args.limit)?,
        (Some(journal), Some(service)) => {
            let all = journal.runs(usize::MAX)?.into_iter();
            all.filter(|run| services(&run.header).contains(&service.as_str())).take(args.limit).collect()
        }
        (None, _) => {
            terminal::say(format!("no runs yet: there is no journal in `{}`", args.state.folder()));
            Vec::new()
        }
    };
    let here = ProcessIdentity::this_process().into_diagnostic()?;
    let alive = |header: &_| !is_dead(header, &here);
    let history = History { runs: &runs, now_ms: SystemClock::default().unix_ms(), alive: &alive };
    let text = match args.format.is_json() {
        true => history.json_lines(),
        false => history.table(terminal::width(), terminal::colour_on(&std::io::stdout())),
    };
    terminal::print(&text)?;
    Ok(0)
}
