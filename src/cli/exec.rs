//! `deployer exec`: a program inside a service's container, journalled as a run.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use miette::miette;
use serde_json::json;

use super::fault::Fault;
use super::logs::container_of;
use super::run::run_once;
use super::script_file::ScriptFile;
use super::{EngineArgs, census, live_names, signals, terminal};
use crate::app::App;
use crate::base::duration_text::DurationText;
use crate::gateway::Cancel;

/// What the run is called in the history.
const SCRIPT: (&str, &str) = ("deployer exec", include_str!("exec.rhai"));

/// Runs a program inside the container of a service that serves. No shell reads the arguments, and nothing is typed
/// into it. Ends with the program's own code.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// A service or a container
    #[arg(add = ArgValueCompleter::new(live_names::services))]
    service: String,
    /// After which it is killed
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: DurationText,
    #[command(flatten)]
    engine: EngineArgs,
    /// The program and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

pub async fn exec(args: ExecArgs) -> Result<u8, Fault> {
    let found = census::look(&args.engine).await?;
    let Some(container) = container_of(&found.census, &args.service) else {
        let help = "`deployer status` lists the services";
        let text = miette!(help = help, "no container of a service `{}` on {}", args.service, found.address);
        return Err(Fault::usage(text));
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
    let said = end.value["stderr"].as_str().unwrap_or_default();
    if !said.is_empty() {
        terminal::say(said.trim_end_matches('\n'));
    }
    if end.value["truncated"].as_bool() == Some(true) {
        terminal::say("only the end of what it wrote is shown");
    }
    let code = end.value["exit_code"].as_i64().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
