//! `deployer runs prune`

use std::collections::BTreeSet;

use clap::Args;
use miette::miette;

use super::fault::Fault;
use super::{StateArgs, terminal};
use crate::app::{App, state_folder};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::journal::entry::{RunStatus, RunSummary};
use crate::report::history::History;
use crate::world::approvals::Approvals;
use crate::world::clock::{Clock, SystemClock};

/// Removes old runs from the history: those that have ended, and the scripts that only they ran. Never one that is
/// unfinished or stuck.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The newest runs stay
    #[arg(long, value_name = "N", default_value_t = 100)]
    keep: usize,
    /// Only runs that ended longer ago, such as 30d
    #[arg(long, value_name = "DURATION")]
    older_than: Option<DurationText>,
    /// Remove them; without it they are only listed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    state: StateArgs,
}

pub fn prune(args: &PruneArgs) -> Result<u8, Fault> {
    let Some(journal) = App::journal(args.state.state.as_ref())? else {
        terminal::say(format!("nothing was run yet: no journal in `{}`", args.state.folder()));
        return Ok(0);
    };
    let now_ms = SystemClock::default().unix_ms();
    let age_ms = args.older_than.map(|age| i64::try_from(age.0.as_millis()).unwrap_or(i64::MAX));
    let before_ms = age_ms.map_or(i64::MAX, |age_ms| now_ms.saturating_sub(age_ms));
    let all = journal.runs(usize::MAX)?;
    let old: Vec<RunSummary> = all.into_iter().skip(args.keep).filter(|run| may_go(run, before_ms)).collect();
    if old.is_empty() {
        terminal::say("nothing to remove");
        return Ok(0);
    }
    let history = History { runs: &old, now_ms, alive: &|_| true };
    terminal::print(&history.table(terminal::width(), terminal::colour_on(&std::io::stdout())))?;
    if !args.yes {
        terminal::say(format!("nothing was removed; remove these {}: add `--yes`", counted(old.len())));
        return Ok(0);
    }
    let runs: Vec<RunId> = old.into_iter().map(|run| run.run).collect();
    journal.remove(&runs)?;
    let left: BTreeSet<RunId> = journal.runs(usize::MAX)?.into_iter().map(|run| run.run).collect();
    let approvals = Approvals::of(&state_folder(args.state.state.as_ref()));
    let gone: Vec<&RunId> = runs.iter().filter(|run| !left.contains(run)).collect();
    for run in &gone {
        approvals.forget(run).map_err(|error| miette!("what run {run} asked could not be removed: {error}"))?;
    }
    terminal::say(format!("removed {}; left: {}", counted(gone.len()), left.len()));
    Ok(0)
}

fn may_go(run: &RunSummary, before_ms: i64) -> bool {
    let is_over = !matches!(run.status, RunStatus::Running | RunStatus::Stuck);
    is_over && run.ended_at_ms.is_some_and(|ended_ms| ended_ms < before_ms)
}

fn counted(runs: usize) -> String {
    if runs == 1 { "1 run".into() } else { format!("{runs} runs") }
}
