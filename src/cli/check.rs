//! `deployer check`

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};

use super::command_error::CommandError;
use super::config::Config;
use super::output_format::FormatArgs;
use super::script_file::ScriptFile;
use super::{completion_values, terminal};
use crate::script::check;
use crate::script::diagnostic::ScriptDiagnostic;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A file, the name of an included script, or - for standard input [default: the script of deployer.toml]
    #[arg(add = ArgValueCompleter::new(completion_values::scripts))]
    script: Option<String>,
    #[command(flatten)]
    format: FormatArgs,
}

pub fn check(args: &CheckArgs) -> Result<u8, CommandError> {
    let script = match &args.script {
        Some(script) => ScriptFile::find(script)?,
        None => ScriptFile::find(Config::read(None, None, None)?.script_or(None, "check")?)?,
    };
    let name = script.source.name.clone();
    let found = tokio::task::block_in_place(|| check::check(script.source, &script.loader));
    let errors = found.iter().filter(|diagnostic| !diagnostic.is_warning()).count();
    if args.format.is_json() {
        let lines: String = found.iter().map(|diagnostic| format!("{}\n", as_json(&name, diagnostic))).collect();
        terminal::print(&lines)?;
    } else {
        for diagnostic in &found {
            terminal::say(terminal::render(diagnostic).trim_end_matches('\n'));
        }
        terminal::say(summary(&name, errors, found.len() - errors));
    }
    Ok(if errors == 0 { 0 } else { 2 })
}

/// One finding for programs.
fn as_json(script: &str, diagnostic: &ScriptDiagnostic) -> Value {
    json!({
        "script": script,
        "severity": if diagnostic.is_warning() { "warning" } else { "error" },
        "code": diagnostic.code,
        "message": diagnostic.to_string(),
        "help": diagnostic.help,
    })
}

fn summary(name: &str, errors: usize, warnings: usize) -> String {
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => format!("{name}: no errors"),
        (0, warnings) => format!("{name}: no errors, {}", counted(warnings, "warning")),
        (errors, 0) => format!("{name}: {}", counted(errors, "error")),
        (errors, warnings) => format!("{name}: {}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}
