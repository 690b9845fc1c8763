//! `deployer show`: the events of one run, shown by the reporter that showed them live.

use std::sync::Arc;

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
use super::{ShowAs, StateArgs, terminal};
use crate::app::App;
use crate::base::run_id::RunId;
use crate::journal::Journal;
use crate::journal::entry::RunEvent;

/// How many runs are searched for the beginning of an id.
const SEARCHED: usize = 10_000;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the run or the beginning of it; `last` is the newest run
    #[arg(default_value = "last")]
    run: String,
    #[command(flatten)]
    show_as: ShowAs,
    #[command(flatten)]
    state: StateArgs,
}

pub fn show(args: &ShowArgs) -> Result<u8, CommandError> {
    let journal = journal(&args.state)?;
    let run = find(journal.as_ref(), &args.run, &args.state)?;
    let mut reporter = terminal::show(args.show_as, false);
    for record in journal.records(&run)? {
        reporter.show(&RunEvent::Recorded(record));
    }
    reporter.finish();
    Ok(0)
}

/// Opens the existing journal.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn journal(state: &StateArgs) -> Result<Arc<dyn Journal>, CommandError> {
    App::journal(state.state.as_ref())?.ok_or_else(|| {
        CommandError::usage(miette!(
            help = "choose another folder with `--state DIR`",
            "no runs yet: there is no journal in `{}`",
            state.folder()
        ))
    })
}

/// Finds a run by `last`, its id, or the beginning of its id.
///
/// # Errors
/// When no run matches, or more than one.
pub fn find(journal: &dyn Journal, text: &str, state: &StateArgs) -> Result<RunId, CommandError> {
    let list = format!("`{}` lists the runs", state.command("deployer runs"));
    let runs = journal.runs(SEARCHED)?;
    let mut matching = runs.iter().filter(|run| text == "last" || run.run.as_str().starts_with(text));
    match (matching.next(), matching.next()) {
        (Some(run), None) => Ok(run.run.clone()),
        (Some(run), Some(_)) if text == "last" => Ok(run.run.clone()),
        (Some(_), Some(_)) => Err(CommandError::usage(miette!(
            help = format!("type more of the id; {list}"),
            "several runs begin with `{text}`"
        ))),
        (None, _) if text == "last" => Err(CommandError::usage(miette!("no runs yet"))),
        (None, _) => Err(CommandError::usage(miette!(help = list, "there is no run `{text}`"))),
    }
}
