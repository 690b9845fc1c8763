//! `deployer abort`

use clap::Args;

use super::fault::Fault;
use super::reopen::{Wanted, reopen};
use super::{EngineArgs, ShowAs};
use crate::base::duration_text::DurationText;
use crate::journal::entry::Purpose;
use crate::run::reopen::Decisions;

#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The run's id or its beginning; `last` is the newest
    #[arg(default_value = "last")]
    run: String,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn abort(args: AbortArgs) -> Result<u8, Fault> {
    reopen(Wanted {
        run: &args.run,
        engine: &args.engine,
        show_as: args.show_as,
        purpose: Purpose::Abort,
        decisions: Decisions::default(),
        timeout: None,
        lock_wait: DurationText::default(),
    })
    .await
}
