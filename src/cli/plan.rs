//! `deployer plan`

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::IntoDiagnostic;

use super::config::{Config, given};
use super::fault::Fault;
use super::script_file::ScriptFile;
use super::{EngineArgs, live_names, planned, terminal};
use crate::report::Format;

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A file, the name of a shipped script, or - for standard input [default: what `deployer.toml` says]
    #[arg(add = ArgValueCompleter::new(live_names::scripts))]
    script: Option<String>,
    /// Parameters of the script, as TOML [default: deployer.toml, when it is in this folder]
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The environment of the file that is meant: its table `[env.NAME]` lies over the rest
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// One parameter; a.b=3 reaches nested ones, and wins over the file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub async fn plan(mut args: PlanArgs) -> Result<u8, Fault> {
    let config = Config::read(args.config.as_deref(), args.env.as_deref(), args.script.as_deref())?;
    let script = ScriptFile::find(config.script_or(args.script.as_deref(), "plan")?)?;
    planned::sound(&script).await?;
    let declaration = planned::declaration(&script).await?;
    let given = given(&declaration, &config, &args.sets)?;
    args.engine.or_host(config.project.docker_host);
    let plan = planned::plan(&args.engine, &script, &declaration, given).await?;
    match args.format {
        Some(Format::Json) => terminal::print(&format!("{}\n", serde_json::to_string(&plan).into_diagnostic()?))?,
        _ => terminal::print(&plan.to_string())?,
    }
    if let Some(report) = plan.fails.as_ref().and_then(|failed| failed.report.as_ref()) {
        terminal::say(report.trim_end());
    }
    Ok(plan.exit_code())
}
