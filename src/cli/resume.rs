//! `deployer resume`

use clap::Args;

use super::command_error::CommandError;
use super::reopen::{ReopenRequest, reopen};
use super::{EngineArgs, ShowAs};
use crate::base::duration_text::DurationText;
use crate::base::seq::Seq;
use crate::journal::entry::Purpose;
use crate::run::reopen::Decisions;

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Id of the run or the beginning of it; `last` is the newest run
    #[arg(default_value = "last")]
    run: String,
    /// Repeat this step: the run was interrupted during it, and it was not done
    #[arg(long = "redo-step", value_name = "STEP")]
    redo: Vec<Seq>,
    /// Skip this step: the run was interrupted during it, and it was done
    #[arg(long = "skip-step", value_name = "STEP")]
    skip: Vec<Seq>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
    /// How long to wait for another run that holds the service's lock [default: not at all]
    #[arg(long, value_name = "DURATION")]
    lock_wait: Option<DurationText>,
    /// Roll back when the run takes longer, such as 10m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<DurationText>,
}

pub async fn resume(args: ResumeArgs) -> Result<u8, CommandError> {
    reopen(ReopenRequest {
        run: &args.run,
        engine: &args.engine,
        show_as: args.show_as,
        purpose: Purpose::Resume,
        decisions: Decisions { redo: args.redo.into_iter().collect(), skip: args.skip.into_iter().collect() },
        timeout: args.timeout,
        lock_wait: args.lock_wait.unwrap_or_default(),
    })
    .await
}
