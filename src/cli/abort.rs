//! `deployer abort`

use clap::Args;

use super::command_error::CommandError;
use super::reopen::{ReopenRequest, reopen};
use super::{EngineArgs, ShowAs};
use crate::base::duration_text::DurationText;
use crate::base::seq::Seq;
use crate::journal::entry::Purpose;
use crate::run::reopen::Decisions;

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// Id of the run or the beginning of it; `last` is the newest run
    #[arg(default_value = "last")]
    run: String,
    /// Repeat this step of an `on_rollback` or `on_finish` closure: it was interrupted during it, and it was not done
    #[arg(long = "redo-step", value_name = "STEP")]
    redo: Vec<Seq>,
    /// Skip this step of such a closure: it was interrupted during it, and it was done
    #[arg(long = "skip-step", value_name = "STEP")]
    skip: Vec<Seq>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn abort(args: AbortArgs) -> Result<u8, CommandError> {
    reopen(ReopenRequest {
        run: &args.run,
        engine: &args.engine,
        show_as: args.show_as,
        purpose: Purpose::Abort,
        decisions: Decisions { redo: args.redo.into_iter().collect(), skip: args.skip.into_iter().collect() },
        timeout: None,
        lock_wait: DurationText::default(),
    })
    .await
}
