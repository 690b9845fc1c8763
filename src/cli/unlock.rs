//! `deployer unlock`

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use clap::Args;
use miette::{IntoDiagnostic, Report, miette};

use super::fault::Fault;
use super::{EngineArgs, terminal};
use crate::app::{App, new_run_id};
use crate::base::seq::Branch;
use crate::base::shell_word::shell_word;
use crate::effect::lock::{BreakLock, HolderState, LockHolder, LockOutcome, LookLock};
use crate::effect::{Effect, Outcome};
use crate::journal::entry::RunStatus;
use crate::script::diagnostic::effect_diagnostic;
use crate::world::Call;

#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// The service
    service: String,
    #[command(flatten)]
    engine: EngineArgs,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also when the run that holds the lock is under way: it can change nothing any more then. Does not ask
    #[arg(long)]
    force: bool,
}

pub async fn unlock(args: UnlockArgs) -> Result<u8, Fault> {
    let app = App::open(&args.engine.options()?).await?;
    let service = &args.service;
    let look: Effect = LookLock { service: service.clone() }.into();
    let Outcome::Lock(LockOutcome::Look(view)) = perform(&app, look).await? else { return Ok(0) };
    let Some(holder) = view.holder else {
        terminal::say(format!("`{service}` is not locked"));
        return Ok(0);
    };
    terminal::say(format!("`{service}` is locked by {}", holder.words(app.world.clock().unix_ms())));
    terminal::say(state_words(&holder));
    let again = |flag: &str| again(&app, service, flag);
    if holder.state == HolderState::Alive && !args.force {
        let help = format!(
            "let it end, or end it: `kill {}`; to take the lock away from it all the same: `{}`",
            holder.pid,
            again("--force")
        );
        let report = miette!(
            code = "deployer::unlock::alive",
            help = help,
            "run {} is under way; its lock was left alone",
            holder.run
        );
        return Err(Fault::usage(report).with_code(RunStatus::Locked.exit_code()));
    }
    if !args.yes && !args.force && !agreed(service, || again("--yes"))? {
        terminal::say("the lock was left alone");
        return Ok(RunStatus::Failed.exit_code());
    }
    let take: Effect = BreakLock { service: service.clone(), run: holder.run.clone() }.into();
    let taken = matches!(perform(&app, take).await?, Outcome::Lock(LockOutcome::Break(gone)) if gone.removed);
    if !taken {
        let report = miette!(
            help = "look again: the same command",
            "the lock of `{service}` changed hands meanwhile; it was left alone"
        );
        return Err(Fault::usage(report).with_code(RunStatus::Locked.exit_code()));
    }
    terminal::say(format!("`{service}` is unlocked; run {} can change nothing any more", holder.run));
    Ok(0)
}

async fn perform(app: &App, effect: Effect) -> Result<Outcome, Fault> {
    let call = Call::silent(new_run_id()?, Branch::beside_script(0).next(), Arc::clone(&app.vault));
    let failed = |error| Fault::usage(Report::new(effect_diagnostic(&error))).with_code(RunStatus::Failed.exit_code());
    app.world.perform(&call, &effect).await.map_err(failed)
}

fn state_words(holder: &LockHolder) -> String {
    match holder.state {
        HolderState::Alive => format!("process {} is under way on this host", holder.pid),
        HolderState::Dead => format!("process {} has ended: the next run takes the lock over by itself", holder.pid),
        HolderState::Unknown => format!("whether it is under way cannot be told from here: see on `{}`", holder.host),
    }
}

/// The same command with one more argument.
fn again(app: &App, service: &str, flag: &str) -> String {
    let words = ["deployer unlock", &shell_word(service), app.engine_flags(), &app.state_flags, flag];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Asks on a terminal.
fn agreed(service: &str, again: impl Fn() -> String) -> Result<bool, Fault> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        let report = miette!(help = format!("`{}`", again()), "nobody is here to ask; the lock was left alone");
        return Err(Fault::usage(report));
    }
    let mut talk = std::io::stderr();
    write!(talk, "take the lock of `{service}` away? [y/N] ").and_then(|()| talk.flush()).into_diagnostic()?;
    let mut answer = String::new();
    input.read_line(&mut answer).into_diagnostic()?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
