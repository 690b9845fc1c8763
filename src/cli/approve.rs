//! `deployer approve`: answers a run that waits for approval.

use std::io;

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
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
use crate::world::approval_store::{ApprovalQuestion, ApprovalStore};
use crate::world::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Id of the run or the beginning of it; `last` is the newest run. Without it, lists the open questions
    run: Option<String>,
    /// Answer no
    #[arg(long)]
    no: bool,
    /// A reason, for the journal
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Position of the question in the run, when there are several
    #[arg(long, value_name = "POSITION")]
    at: Option<Seq>,
    #[command(flatten)]
    state: StateArgs,
}

pub fn approve(args: &ApproveArgs) -> Result<u8, CommandError> {
    let approvals = ApprovalStore::new(&state_folder(args.state.state.as_ref()));
    let now = SystemClock::default().unix_ms();
    let Some(text) = &args.run else { return list(&approvals, args, now) };
    if args.note.as_ref().is_some_and(|note| note.chars().count() > TEXT_MAX) {
        return Err(CommandError::usage(miette!("`--note` is limited to {TEXT_MAX} characters")));
    }
    let journal = journal(&args.state)?;
    let run = find(journal.as_ref(), text, &args.state)?;
    let state = state_of(journal.as_ref(), &run)?;
    let mut open = open(&approvals, &run, now)?;
    if state.status() != RunStatus::Running || open.is_empty() {
        let ended = if state.status() == RunStatus::Running { "" } else { ": the run has ended" };
        return Err(CommandError::usage(miette!(help = list_hint(args), "run {run} waits for no approval{ended}")));
    }
    if let Some(at) = &args.at {
        open.retain(|(seq, _)| seq == at);
    }
    let [(seq, question)] = open.as_slice() else {
        let positions: Vec<String> =
            open.iter().map(|(seq, asked)| format!("--at {seq}: {}", asked.question)).collect();
        let help = if positions.is_empty() { list_hint(args) } else { positions.join("\n") };
        return Err(CommandError::usage(miette!(help = help, "it is not clear which question of run {run} to answer")));
    };
    let answer =
        Approval { approved: !args.no, timed_out: false, by: Some(user()?), note: args.note.clone(), at_unix_ms: now };
    if !approvals.answer(&run, seq, &answer).map_err(unusable)? {
        return Err(CommandError::usage(miette!(
            "the question already has an answer, or its time has run out; that result stays"
        )));
    }
    terminal::say(&question.question);
    let word = if args.no { "no" } else { "yes" };
    terminal::say(format!("{word}, by {}, to run {run}", answer.by.unwrap_or_default()));
    let header = state.header.as_ref();
    if header.map(|header| Ok::<_, CommandError>(is_dead(header, &this_holder()?))).transpose()?.unwrap_or_default() {
        let resume = args.state.command(&format!("deployer resume {run}"));
        terminal::say(format!("hint: the run was interrupted in the meantime; continue with this answer: `{resume}`"));
    }
    Ok(0)
}

fn list_hint(args: &ApproveArgs) -> String {
    format!("`{}` lists the open questions of all runs", args.state.command("deployer approve"))
}

fn list(approvals: &ApprovalStore, args: &ApproveArgs, now: i64) -> Result<u8, CommandError> {
    if args.no || args.note.is_some() || args.at.is_some() {
        return Err(CommandError::usage(miette!(help = list_hint(args), "which run?")));
    }
    let mut lines = String::new();
    // A folder without a journal has no questions, so the journal is opened only here.
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
        terminal::say("no run waits for approval");
    }
    terminal::print(&lines)?;
    Ok(0)
}

fn open(approvals: &ApprovalStore, run: &RunId, now: i64) -> Result<Vec<(Seq, ApprovalQuestion)>, CommandError> {
    let mut open = approvals.pending(run).map_err(unusable)?;
    open.retain(|(_, question)| question.until_unix_ms > now);
    Ok(open)
}

fn state_of(journal: &dyn Journal, run: &RunId) -> Result<RunState, CommandError> {
    let mut state = RunState::default();
    for record in journal.records(run)? {
        state.apply(&record.entry)?;
    }
    Ok(state)
}

/// Returns the user at the keyboard, also under `sudo`, and the host.
fn user() -> Result<String, CommandError> {
    let current = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let user = environment("SUDO_USER").filter(|user| !user.is_empty()).or_else(current);
    Ok(format!("{}@{}", user.unwrap_or_else(|| nix::unistd::getuid().to_string()), this_holder()?.host))
}

fn unusable(error: io::Error) -> CommandError {
    CommandError::usage(miette!("the questions in the state folder cannot be read: {error}"))
}
