//! `deployer check`

use clap::Args;

use super::fault::Fault;
use super::script_file::ScriptFile;
use super::terminal;
use crate::script::check;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A file, the name of a shipped script, or - for standard input
    script: String,
}

pub fn check(args: &CheckArgs) -> Result<u8, Fault> {
    let script = ScriptFile::find(&args.script)?;
    let name = script.source.name.clone();
    let found = tokio::task::block_in_place(|| check::check(script.source, &script.loader));
    for diagnostic in &found {
        terminal::say(terminal::render(diagnostic).trim_end_matches('\n'));
    }
    let errors = found.iter().filter(|diagnostic| !diagnostic.is_warning()).count();
    match (errors, found.len()) {
        (0, 0) => terminal::say(format!("{name}: sound")),
        (0, warnings) => terminal::say(format!("{name}: sound, with {warnings} to look at")),
        (errors, _) => terminal::say(format!("{name}: {errors} wrong")),
    }
    Ok(if errors == 0 { 0 } else { 2 })
}
