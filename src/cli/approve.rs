//! `deployer approve`: answers the question that a run waits with.

use std::io;

use clap::Args;
use miette::miette;

use super::fault::Fault;
use super::show::{find, journal};
use super::{StateArgs, terminal};
use crate::app::{environment, is_dead, state_folder, this_holder};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::effect::approval::{Approval, TEXT_MAX};
use crate::journal::Journal;
use crate::journal::entry::RunStatus;
use crate::journal::run_state::RunState;
use crate::world::approvals::{Approvals, Question};
use crate::world::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The run's id or its beginning; `last` is the newest. Without it, what is asked is listed
    run: Option<String>,
    /// Say no
    #[arg(long)]
    no: bool,
    /// A word on why, for the journal
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Which question, when the run asks several: its place in the run
    #[arg(long, value_name = "PLACE")]
    at: Option<Seq>,
    #[command(flatten)]
    state: StateArgs,
}

pub fn approve(args: &ApproveArgs) -> Result<u8, Fault> {
    let approvals = Approvals::of(&state_folder(args.state.state.as_ref()));
    let now = SystemClock::default().unix_ms();
    let Some(text) = &args.run else { return list(&approvals, args, now) };
    if args.note.as_ref().is_some_and(|note| note.chars().count() > TEXT_MAX) {
        return Err(Fault::usage(miette!("`--note` has at most {TEXT_MAX} characters")));
    }
    let journal = journal(&args.state)?;
    let run = find(journal.as_ref(), text)?;
    let state = state_of(journal.as_ref(), &run)?;
    let mut open = open(&approvals, &run, now)?;
    if state.status() != RunStatus::Running || open.is_empty() {
        let ended = if state.status() == RunStatus::Running { "" } else { ": it has ended" };
        return Err(Fault::usage(miette!(
            help = "what is asked by all runs: `deployer approve`",
            "run {run} asks nothing{ended}"
        )));
    }
    if let Some(at) = &args.at {
        open.retain(|(seq, _)| seq == at);
    }
    let [(seq, question)] = open.as_slice() else {
        let places: Vec<String> = open.iter().map(|(seq, asked)| format!("--at {seq}: {}", asked.question)).collect();
        let help = if places.is_empty() { "see `deployer approve`".to_owned() } else { places.join("\n") };
        return Err(Fault::usage(miette!(help = help, "it is not clear which question of run {run} is answered")));
    };
    let answer =
        Approval { approved: !args.no, timed_out: false, by: Some(who()?), note: args.note.clone(), at_unix_ms: now };
    if !approvals.answer(&run, seq, &answer).map_err(unusable)? {
        return Err(Fault::usage(miette!("somebody else was faster, or the time was over; that answer stays")));
    }
    terminal::say(&question.question);
    let word = if args.no { "no" } else { "yes" };
    terminal::say(format!("{word}, by {}, to run {run}", answer.by.unwrap_or_default()));
    let header = state.header.as_ref();
    if header.map(|header| Ok::<_, Fault>(is_dead(header, &this_holder()?))).transpose()?.unwrap_or_default() {
        terminal::say(format!("hint: the run was killed meanwhile: `deployer resume {run}` goes on with this answer"));
    }
    Ok(0)
}

fn list(approvals: &Approvals, args: &ApproveArgs, now: i64) -> Result<u8, Fault> {
    if args.no || args.note.is_some() || args.at.is_some() {
        return Err(Fault::usage(miette!(help = "`deployer approve` lists what is asked", "which run is answered?")));
    }
    let mut lines = String::new();
    // Without a journal nothing was ever asked.
    for run in approvals.runs().map_err(unusable)? {
        let journal = journal(&args.state)?;
        if state_of(journal.as_ref(), &run)?.status() != RunStatus::Running {
            continue;
        }
        for (seq, asked) in open(approvals, &run, now)? {
            let left = u64::try_from(asked.until_unix_ms - now).unwrap_or_default() / 1_000;
            lines.push_str(&format!("{run}  {seq}  {} left  {}\n", DurationText::secs(left), asked.question));
        }
    }
    if lines.is_empty() {
        terminal::say("nothing is asked");
    }
    terminal::print(&lines)?;
    Ok(0)
}

fn open(approvals: &Approvals, run: &RunId, now: i64) -> Result<Vec<(Seq, Question)>, Fault> {
    let mut open = approvals.open(run).map_err(unusable)?;
    open.retain(|(_, question)| question.until_unix_ms > now);
    Ok(open)
}

fn state_of(journal: &dyn Journal, run: &RunId) -> Result<RunState, Fault> {
    let mut state = RunState::default();
    for record in journal.records(run)? {
        state.apply(&record.entry)?;
    }
    Ok(state)
}

/// Whoever types, and not whom they became by `sudo`.
fn who() -> Result<String, Fault> {
    let own = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let user = environment("SUDO_USER").filter(|user| !user.is_empty()).or_else(own);
    Ok(format!("{}@{}", user.unwrap_or_else(|| nix::unistd::getuid().to_string()), this_holder()?.host))
}

fn unusable(error: io::Error) -> Fault {
    Fault::usage(miette!("questions and answers cannot be read in the state folder: {error}"))
}
