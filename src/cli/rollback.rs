//! `deployer rollback`: runs the included script `rollback.rhai`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::command_error::CommandError;
use super::config::Config;
use super::run::{RunOptions, run_script};
use super::{EngineArgs, ShowAs, completion_values};

/// The included script.
const SCRIPT: &str = "rollback.rhai";

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The service
    #[arg(add = ArgValueCompleter::new(completion_values::services))]
    service: String,
    /// Tag, full name or id of an image, as listed by `deployer releases SERVICE` [default: the previous release]
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Set a parameter of rollback.rhai
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Environment from deployer.toml: its table `[env.NAME]` overlays the other values
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    show_as: ShowAs,
}

pub async fn rollback(args: RollbackArgs) -> Result<u8, CommandError> {
    let mut sets = vec![format!("service={}", args.service)];
    sets.extend(args.to.map(|to| format!("to={to}")));
    sets.extend(args.sets);
    let mut config = Config::read(None, args.env.as_deref(), Some(SCRIPT))?;
    if let Some(params) = config.project.params.as_object_mut() {
        // The file has the health check of the newest release; an older one may have had another.
        params.remove("health");
    }
    run_script(SCRIPT, config, RunOptions::new(sets, args.env, args.engine, args.show_as)).await
}
