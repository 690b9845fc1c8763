//! `deployer exec`: runs a program inside a service's container, as a journalled run.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::json;

use super::command_error::CommandError;
use super::logs::container_of;
use super::run::run_once;
use super::script_file::ScriptFile;
use super::{EngineArgs, completion_values, inventory, signals, terminal};
use crate::app::App;
use crate::base::duration_text::DurationText;
use crate::gateway::Cancel;

/// The name of the run in the history, and its script.
const SCRIPT: (&str, &str) = ("deployer exec", include_str!("exec.rhai"));

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// A service or a container
    #[arg(add = ArgValueCompleter::new(completion_values::services))]
    service: String,
    /// Kill the program after this time
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: DurationText,
    #[command(flatten)]
    engine: EngineArgs,
    /// The program and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub async fn exec(args: ExecArgs) -> Result<u8, CommandError> {
    let found = inventory::query(&args.engine).await?;
    let Some(container) = container_of(&found.inventory, &args.service) else {
        let help = format!("`{}` lists the services", args.engine.command("deployer status"));
        let text = miette!(help = help, "there is no container of a service `{}` on {}", args.service, found.address);
        return Err(CommandError::usage(text));
    };
    let app = App::open(&args.engine.options()?).await?;
    let cancel = Cancel::default();
    let watch = signals::watch(cancel.clone(), None);
    let given = json!({ "container": container.id, "command": args.command, "timeout": args.timeout.to_string() });
    let script = ScriptFile::of_text(SCRIPT.0, SCRIPT.1);
    let end = run_once(&app, script, given, cancel, terminal::silent()).await?;
    watch.abort();
    if let Some(report) = &end.report {
        terminal::say(report.trim_end_matches('\n'));
        return Ok(end.exit_code);
    }
    terminal::print(end.value["stdout"].as_str().unwrap_or_default())?;
    let stderr = end.value["stderr"].as_str().unwrap_or_default();
    if !stderr.is_empty() {
        terminal::say(stderr.trim_end_matches('\n'));
    }
    if end.value["truncated"].as_bool() == Some(true) {
        terminal::say("the output is incomplete: only its end is shown");
    }
    let code = end.value["exit_code"].as_i64().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
