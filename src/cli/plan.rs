//! `deployer plan`

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::IntoDiagnostic;

use super::command_error::CommandError;
use super::config::{Config, script_parameters};
use super::output_format::FormatArgs;
use super::script_file::ScriptFile;
use super::{EngineArgs, completion_values, preflight, terminal};

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A file, the name of an included script, or - for standard input [default: the script of deployer.toml]
    #[arg(add = ArgValueCompleter::new(completion_values::scripts))]
    script: Option<String>,
    /// Parameters of the script as TOML [default: deployer.toml, if it is in this folder]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Environment from the configuration file: its table `[env.NAME]` overlays the other values
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Set a parameter; a.b=3 sets a nested one. Takes precedence over the configuration file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub async fn plan(mut args: PlanArgs) -> Result<u8, CommandError> {
    let config = Config::read(args.config.as_deref(), args.env.as_deref(), args.script.as_deref())?;
    let script = ScriptFile::find(config.script_or(args.script.as_deref(), "plan")?)?;
    preflight::check_script(&script).await?;
    let declaration = preflight::declaration(&script).await?;
    let given = script_parameters(&declaration, &config, &args.sets)?;
    args.engine.or_host(config.project.docker_host);
    let plan = preflight::plan(&args.engine, &script, &declaration, given).await?;
    match args.format.is_json() {
        true => terminal::print(&format!("{}\n", serde_json::to_string(&plan).into_diagnostic()?))?,
        false => terminal::print(&plan.to_string())?,
    }
    if let Some(report) = plan.fails.as_ref().and_then(|failed| failed.report.as_ref()) {
        terminal::say(report.trim_end());
    }
    Ok(plan.exit_code())
}
