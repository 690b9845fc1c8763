//! `deployer test`

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::config::io_error_text;
use super::output_format::FormatArgs;
use super::script_file::ScriptFile;
use super::verify::read_toml;
use super::{preflight, terminal};
use crate::verify::case::{Case, CaseResult};
use crate::verify::target::VerifyTarget;

/// The maximum number of entries of a folder that are read.
const CASES: usize = 10_000;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// A folder with test cases (*.toml), or one of them
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

pub async fn test(args: TestArgs) -> Result<u8, CommandError> {
    let files = files(&args.folder)?;
    let (mut lines, mut failed) = (Vec::new(), 0);
    for file in &files {
        let verdict = run(file).await?;
        failed += usize::from(!verdict.wrong.is_empty());
        let name = file.display().to_string();
        lines.push((name, verdict));
    }
    match args.format.is_json() {
        true => {
            for (name, verdict) in &lines {
                let line = json!({ "case": name, "passed": verdict.wrong.is_empty(), "wrong": verdict.wrong });
                terminal::print(&format!("{line}\n"))?;
            }
        }
        false => {
            for (name, verdict) in &lines {
                terminal::print(&shown(name, verdict))?;
            }
            terminal::print(&format!("{} cases, {failed} failed\n", lines.len()))?;
        }
    }
    Ok(u8::from(failed > 0))
}

fn shown(name: &str, verdict: &CaseResult) -> String {
    if verdict.wrong.is_empty() {
        return format!("passed  {name}\n");
    }
    let lines = verdict.wrong.iter().chain(&verdict.story).map(|line| format!("  {line}\n"));
    format!("failed  {name}\n{}", lines.collect::<String>())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let unreadable = |error: std::io::Error| {
        CommandError::usage(miette!("`{}` cannot be read: {}", folder.display(), io_error_text(&error)))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.take(CASES) {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let help = "a case is a TOML file with script, given, host, when and expect; see docs/src/verify.md";
        return Err(CommandError::usage(miette!(help = help, "`{}` contains no test case", folder.display())));
    }
    Ok(files)
}

async fn run(file: &Path) -> Result<CaseResult, CommandError> {
    let case: Case = read_toml(file)?;
    let beside = file.parent().unwrap_or(Path::new("")).join(&case.script);
    let script = match beside.is_file() {
        true => ScriptFile::find(&beside.display().to_string())?,
        false => ScriptFile::find(&case.script)?,
    };
    let declaration = preflight::declaration(&script).await?;
    let given = if case.given.is_null() { json!({}) } else { case.given.clone() };
    let mut subject = VerifyTarget::new(script.source, script.loader, &declaration, given, case.host.clone());
    if case.public.is_some() {
        subject.public.clone_from(&case.public);
    }
    let handle = Handle::current();
    let verdict = tokio::task::spawn_blocking(move || case.run(&subject, &handle));
    verdict.await.into_diagnostic()?.map_err(CommandError::from)
}
