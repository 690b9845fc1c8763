//! `deployer deploy`: runs the script of the project in this folder.

use clap::Args;
use miette::miette;

use super::command_error::CommandError;
use super::config::Config;
use super::project;
use super::run::{RunOptions, run_script};

#[derive(Debug, Args)]
pub struct DeployArgs {
    #[command(flatten)]
    options: RunOptions,
}

pub async fn deploy(args: DeployArgs) -> Result<u8, CommandError> {
    if project::find().is_none() {
        let help = "create one with `deployer init`, or run a script with `deployer run SCRIPT`";
        return Err(CommandError::usage(miette!(help = help, "there is no `{}` in this folder", project::FILE)));
    }
    let config = Config::read(None, args.options.env.as_deref(), None)?;
    let Some(script) = config.script().map(ToOwned::to_owned) else {
        let help = "add a line such as `script = \"bluegreen.rhai\"`, or run a script with `deployer run SCRIPT`";
        return Err(CommandError::usage(miette!(help = help, "`{}` names no script", project::FILE)));
    };
    run_script(&script, config, args.options).await
}
