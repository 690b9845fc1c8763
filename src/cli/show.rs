//! `deployer show`: the timeline of one run, drawn by the face that drew it live.

use std::sync::Arc;

use clap::Args;
use miette::miette;

use super::fault::Fault;
use super::{ShowAs, StateArgs, terminal};
use crate::app::App;
use crate::base::run_id::RunId;
use crate::journal::Journal;
use crate::journal::entry::RunEvent;

/// How far back a run is looked for by the beginning of its id.
const SEARCHED: usize = 10_000;

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The run's id or its beginning; `last` is the newest
    #[arg(default_value = "last")]
    run: String,
    #[command(flatten)]
    show_as: ShowAs,
    #[command(flatten)]
    state: StateArgs,
}

pub fn show(args: &ShowArgs) -> Result<u8, Fault> {
    let journal = journal(&args.state)?;
    let run = find(journal.as_ref(), &args.run)?;
    let mut face = terminal::show(args.show_as, false);
    for record in journal.records(&run)? {
        face.show(&RunEvent::Recorded(record));
    }
    face.finish();
    Ok(0)
}

/// The journal that must be there.
///
/// # Errors
/// When it is not, or cannot be used.
pub fn journal(state: &StateArgs) -> Result<Arc<dyn Journal>, Fault> {
    App::journal(state.state.as_ref())?.ok_or_else(|| {
        Fault::usage(miette!(
            help = "another folder: `--state DIR`",
            "nothing was run yet: no journal in `{}`",
            state.folder()
        ))
    })
}

/// The run that is meant.
///
/// # Errors
/// When there is none, or more than one.
pub fn find(journal: &dyn Journal, text: &str) -> Result<RunId, Fault> {
    let runs = journal.runs(SEARCHED)?;
    let mut matching = runs.iter().filter(|run| text == "last" || run.run.as_str().starts_with(text));
    match (matching.next(), matching.next()) {
        (Some(run), None) => Ok(run.run.clone()),
        (Some(run), Some(_)) if text == "last" => Ok(run.run.clone()),
        (Some(_), Some(_)) => Err(Fault::usage(miette!(
            help = "give more letters of it; see `deployer runs`",
            "`{text}` is the beginning of several runs"
        ))),
        (None, _) if text == "last" => Err(Fault::usage(miette!("nothing was run yet"))),
        (None, _) => Err(Fault::usage(miette!(help = "see `deployer runs`", "there is no run `{text}`"))),
    }
}
