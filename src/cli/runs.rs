//! `deployer runs`

use clap::{Args, Subcommand};
use miette::IntoDiagnostic;

use super::fault::Fault;
use super::{StateArgs, prune, terminal};
use crate::app::{App, is_dead};
use crate::report::Format;
use crate::report::history::History;
use crate::world::clock::{Clock, SystemClock};
use crate::world::holder::Holder;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(subcommand)]
    verb: Option<RunsVerb>,
    /// How many, newest first
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    state: StateArgs,
}

#[derive(Debug, Subcommand)]
enum RunsVerb {
    /// Remove old runs from the history
    Prune(prune::PruneArgs),
}

pub fn runs(args: &RunsArgs) -> Result<u8, Fault> {
    if let Some(RunsVerb::Prune(args)) = &args.verb {
        return prune::prune(args);
    }
    let journal = App::journal(args.state.state.as_ref())?;
    let runs = match &journal {
        Some(journal) => journal.runs(args.limit)?,
        None => {
            terminal::say(format!("nothing was run yet: no journal in `{}`", args.state.folder()));
            Vec::new()
        }
    };
    let here = Holder::this_process().into_diagnostic()?;
    let alive = |header: &_| !is_dead(header, &here);
    let history = History { runs: &runs, now_ms: SystemClock::default().unix_ms(), alive: &alive };
    let text = match args.format {
        Some(Format::Json) => history.json_lines(),
        _ => history.table(terminal::width(), terminal::colour_on(&std::io::stdout())),
    };
    terminal::print(&text)?;
    Ok(0)
}
