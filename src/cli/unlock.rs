//! `deployer unlock`

use std::sync::Arc;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;

use super::command_error::CommandError;
use super::{EngineArgs, completion_values, confirm, terminal};
use crate::app::{App, new_run_id};
use crate::base::seq::Branch;
use crate::base::shell_word::shell_word;
use crate::effect::lock::{BreakLock, HolderState, InspectLock, LockHolder, LockOutcome};
use crate::effect::{Effect, Outcome};
use crate::journal::entry::RunStatus;
use crate::world::Call;

#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// The service
    #[arg(add = ArgValueCompleter::new(completion_values::services))]
    service: String,
    #[command(flatten)]
    engine: EngineArgs,
    /// Answer yes to the confirmation question
    #[arg(long, short)]
    yes: bool,
    /// Release the lock even if its run is still running; that run can then make no further changes. Does not ask
    #[arg(long)]
    force: bool,
}

pub async fn unlock(args: UnlockArgs) -> Result<u8, CommandError> {
    let app = App::open(&args.engine.options()?).await?;
    let service = &args.service;
    let inspect: Effect = InspectLock { service: service.clone() }.into();
    let Outcome::Lock(LockOutcome::Inspect(view)) = perform(&app, inspect).await? else { return Ok(0) };
    let Some(holder) = view.holder else {
        terminal::say(format!("`{service}` is not locked"));
        return Ok(0);
    };
    terminal::say(format!("`{service}` is locked by {}", holder.describe(app.world.clock().unix_ms())));
    terminal::say(holder_state(&holder));
    let repeat = |flag: &str| command_with(&app, service, flag);
    if holder.state == HolderState::Alive && !args.force {
        let help = format!(
            "wait for the run, or stop it with `kill {}`; to release its lock anyway: `{}`",
            holder.pid,
            repeat("--force")
        );
        let report = miette!(
            code = "deployer::unlock::alive",
            help = help,
            "run {} is still running; its lock was not released",
            holder.run
        );
        return Err(CommandError::usage(report).with_code(RunStatus::Locked.exit_code()));
    }
    if !args.yes && !args.force {
        match confirm::ask_on_terminal(&format!("release the lock of `{service}`?"))? {
            Some(true) => {}
            Some(false) => {
                terminal::say("the lock was not released");
                return Ok(RunStatus::Failed.exit_code());
            }
            None => {
                let help = format!("`{}`", repeat("--yes"));
                let report = miette!(help = help, "no terminal to ask for confirmation; the lock was not released");
                return Err(CommandError::usage(report));
            }
        }
    }
    let release: Effect = BreakLock { service: service.clone(), run: holder.run.clone() }.into();
    let released = matches!(perform(&app, release).await?, Outcome::Lock(LockOutcome::Break(gone)) if gone.removed);
    if !released {
        let report = miette!(
            help = "run the command again",
            "the lock of `{service}` changed in the meantime and was not released"
        );
        return Err(CommandError::usage(report).with_code(RunStatus::Locked.exit_code()));
    }
    terminal::say(format!("`{service}` is unlocked; run {} can make no further changes", holder.run));
    Ok(0)
}

async fn perform(app: &App, effect: Effect) -> Result<Outcome, CommandError> {
    let call = Call::silent(new_run_id()?, Branch::outside_script(0).next(), Arc::clone(&app.vault));
    let failed = |error| CommandError::from(error).with_code(RunStatus::Failed.exit_code());
    app.world.perform(&call, &effect).await.map_err(failed)
}

fn holder_state(holder: &LockHolder) -> String {
    match holder.state {
        HolderState::Alive => format!("process {} is running on this host", holder.pid),
        HolderState::Dead => format!("process {} has ended: the next run takes over the lock", holder.pid),
        HolderState::Unknown => {
            format!("this host cannot tell whether the process is still running: check on `{}`", holder.host)
        }
    }
}

/// Returns the same command with one more argument.
fn command_with(app: &App, service: &str, flag: &str) -> String {
    let words = ["deployer unlock", &shell_word(service), app.engine_flags(), &app.state_flags, flag];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
