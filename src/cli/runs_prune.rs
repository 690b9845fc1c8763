//! `deployer runs prune`

use std::collections::BTreeSet;

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
use super::{StateArgs, confirm, terminal};
use crate::app::{App, state_folder};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::journal::entry::{RunStatus, RunSummary};
use crate::report::history::History;
use crate::world::approval_store::ApprovalStore;
use crate::world::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// How many of the newest runs to keep
    #[arg(long, value_name = "N", default_value_t = 100)]
    keep: usize,
    /// Remove only runs that ended longer ago, such as 30d
    #[arg(long, value_name = "DURATION")]
    older_than: Option<DurationText>,
    /// Answer yes to the confirmation question
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    state: StateArgs,
}

pub fn prune(args: &PruneArgs) -> Result<u8, CommandError> {
    let Some(journal) = App::journal(args.state.state.as_ref())? else {
        terminal::say(format!("no runs yet: there is no journal in `{}`", args.state.folder()));
        return Ok(0);
    };
    let now_ms = SystemClock::default().unix_ms();
    let age_ms = args.older_than.map(|age| i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX));
    let before_ms = age_ms.map_or(i64::MAX, |age_ms| now_ms.saturating_sub(age_ms));
    let all = journal.runs(usize::MAX)?;
    let old: Vec<RunSummary> = all.into_iter().skip(args.keep).filter(|run| is_removable(run, before_ms)).collect();
    if old.is_empty() {
        terminal::say("nothing to remove");
        return Ok(0);
    }
    let history = History { runs: &old, now_ms, alive: &|_| true };
    terminal::print(&history.table(terminal::width(), terminal::colour_on(&std::io::stdout())))?;
    if !args.yes {
        match confirm::ask_on_terminal(&format!("remove {}?", counted(old.len())))? {
            Some(true) => {}
            Some(false) => {
                terminal::say("nothing was removed");
                return Ok(0);
            }
            None => {
                terminal::say(format!("nothing was removed; to remove {}, add `--yes`", counted(old.len())));
                return Ok(0);
            }
        }
    }
    let runs: Vec<RunId> = old.into_iter().map(|run| run.run).collect();
    journal.remove(&runs)?;
    let left: BTreeSet<RunId> = journal.runs(usize::MAX)?.into_iter().map(|run| run.run).collect();
    let approvals = ApprovalStore::new(&state_folder(args.state.state.as_ref()));
    let removed: Vec<&RunId> = runs.iter().filter(|run| !left.contains(run)).collect();
    for run in &removed {
        approvals.remove(run).map_err(|error| miette!("the questions of run {run} cannot be removed: {error}"))?;
    }
    terminal::say(format!("removed {}; {} left", counted(removed.len()), left.len()));
    Ok(0)
}

fn is_removable(run: &RunSummary, before_ms: i64) -> bool {
    let has_ended = !matches!(run.status, RunStatus::Running | RunStatus::Stuck);
    has_ended && run.ended_at_ms.is_some_and(|ended_ms| ended_ms < before_ms)
}

fn counted(runs: usize) -> String {
    if runs == 1 { "1 run".into() } else { format!("{runs} runs") }
}
