//! `deployer resume`

use clap::Args;

use super::fault::Fault;
use super::reopen::{Wanted, reopen};
use super::{EngineArgs, ShowAs};
use crate::base::duration_text::DurationText;
use crate::base::seq::Seq;
use crate::journal::entry::Purpose;
use crate::run::reopen::Decisions;

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run's id or its beginning; `last` is the newest
    #[arg(default_value = "last")]
    run: String,
    /// Do this step again: the run was killed in the middle of it, and it was not done
    #[arg(long = "redo-step", value_name = "STEP")]
    redo: Vec<Seq>,
    /// Take this step as done: the run was killed in the middle of it, and it was
    #[arg(long = "skip-step", value_name = "STEP")]
    skip: Vec<Seq>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
    /// How long to wait for another run that holds the service's lock [default: not at all]
    #[arg(long, value_name = "DURATION")]
    lock_wait: Option<DurationText>,
    /// Take the run back when it is not done by then, such as 10m
    #[arg(long, value_name = "DURATION")]
    timeout: Option<DurationText>,
}

pub async fn resume(args: ResumeArgs) -> Result<u8, Fault> {
    reopen(Wanted {
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
