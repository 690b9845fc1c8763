//! The errors of `deployer resume` and `deployer abort`, with the commands that help.

use miette::{Report, miette};

use super::command_error::CommandError;
use crate::base::run_id::RunId;
use crate::effect::ErrorKind;
use crate::journal::JournalError;
use crate::journal::entry::{Intent, RunStatus};
use crate::run::reopen::ReopenError;

/// Explains why a run could not be reopened.
pub fn refused(id: &RunId, flags: &str, error: ReopenError) -> CommandError {
    let id = format!("{id} {flags}");
    let id = id.trim_end();
    let code = RunStatus::Unfinished.exit_code();
    match error {
        ReopenError::Journal(error @ JournalError::Overtaken { .. }) => {
            CommandError::usage(Report::new(error)).with_code(RunStatus::Locked.exit_code())
        }
        ReopenError::Journal(error) => CommandError::usage(Report::new(error)),
        ReopenError::Effect(error) => {
            let code = if error.kind == ErrorKind::Locked { RunStatus::Locked.exit_code() } else { code };
            CommandError::from(error).with_code(code)
        }
        ReopenError::NothingToDecide(seq) => {
            let help = format!("see which steps were under way: `deployer show {id}`");
            CommandError::usage(miette!(help = help, "no decision is needed at `{seq}`"))
        }
        ReopenError::Undecided(intents) => undecided(id, &intents).with_code(code),
    }
}

fn undecided(id: &str, intents: &[Intent]) -> CommandError {
    let list: Vec<String> = intents
        .iter()
        .map(|intent| {
            let site = intent.site.as_ref().map(|site| format!(", {site}")).unwrap_or_default();
            format!("{}: {} {}{site}", intent.seq, intent.kind, intent.subject)
        })
        .collect();
    let seq = intents.first().map(|intent| intent.seq.to_string()).unwrap_or_default();
    // A run that calls its closures is being rolled back already, or has ended but for them.
    let roll_back = match intents.iter().any(|intent| intent.seq.is_in_closure()) {
        true => String::new(),
        false => format!("\n  roll back:       deployer abort {id}"),
    };
    let help = format!(
        "check whether it was done, then run one of these:\n  it was done:     deployer resume {id} --skip-step \
         {seq}\n  it was not done: deployer resume {id} --redo-step {seq}{roll_back}\nA \
         script can avoid the question with `idempotent: true`, or `done_when: [\"command\"]`."
    );
    CommandError::usage(miette!(
        code = "deployer::run::undecided",
        help = help,
        "outcome unknown: the run was interrupted during\n  {}",
        list.join("\n  ")
    ))
}
