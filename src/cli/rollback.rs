//! `deployer rollback`: the shipped script `rollback.rhai` under a name of its own.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::fault::Fault;
use super::run::{RunArgs, run};
use super::{EngineArgs, ShowAs, live_names};

/// Takes a service back to the release before, or to the one that `--to` names: a deploy like any other, proved and
/// taken back when it fails.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[arg(add = ArgValueCompleter::new(live_names::services))]
    service: String,
    /// Tag, full name or id of an image; `deployer releases SERVICE` lists them
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// One more parameter of rollback.rhai
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// The environment of `deployer.toml` that is meant
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn rollback(args: RollbackArgs) -> Result<u8, Fault> {
    let mut sets = vec![format!("service={}", args.service)];
    sets.extend(args.to.map(|to| format!("to={to}")));
    sets.extend(args.sets);
    run(RunArgs::of("rollback.rhai", sets, args.env, args.engine, args.show_as)).await
}
