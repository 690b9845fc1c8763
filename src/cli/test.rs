//! `deployer test`

use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic, miette};
use serde_json::json;
use tokio::runtime::Handle;

use super::config::plainly;
use super::fault::Fault;
use super::script_file::ScriptFile;
use super::verify::{read_toml, report};
use super::{planned, terminal};
use crate::report::Format;
use crate::verify::case::{Case, Verdict};
use crate::verify::subject::Subject;

/// Files of a folder that are read at the most.
const CASES: usize = 10_000;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// A folder with cases (*.toml), or one of them
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub async fn test(args: TestArgs) -> Result<u8, Fault> {
    let files = files(&args.folder)?;
    let (mut lines, mut failed) = (Vec::new(), 0);
    for file in &files {
        let verdict = run(file).await?;
        failed += usize::from(!verdict.wrong.is_empty());
        let name = file.display().to_string();
        lines.push((name, verdict));
    }
    match args.format {
        Some(Format::Json) => {
            for (name, verdict) in &lines {
                let line = json!({ "case": name, "passed": verdict.wrong.is_empty(), "wrong": verdict.wrong });
                terminal::print(&format!("{line}\n"))?;
            }
        }
        _ => {
            for (name, verdict) in &lines {
                terminal::print(&shown(name, verdict))?;
            }
            terminal::print(&format!("{} cases, {failed} failed\n", lines.len()))?;
        }
    }
    Ok(u8::from(failed > 0))
}

fn shown(name: &str, verdict: &Verdict) -> String {
    if verdict.wrong.is_empty() {
        return format!("passed  {name}\n");
    }
    let lines = verdict.wrong.iter().chain(&verdict.story).map(|line| format!("  {line}\n"));
    format!("failed  {name}\n{}", lines.collect::<String>())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let unreadable =
        |error: std::io::Error| Fault::usage(miette!("`{}` cannot be read: {}", folder.display(), plainly(&error)));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.take(CASES) {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let help = "a case is a TOML file: script, given, host, when, expect; see docs/verify.md";
        return Err(Fault::usage(miette!(help = help, "`{}` holds no case", folder.display())));
    }
    Ok(files)
}

async fn run(file: &Path) -> Result<Verdict, Fault> {
    let case: Case = read_toml(file)?;
    let beside = file.parent().unwrap_or(Path::new("")).join(&case.script);
    let script = match beside.is_file() {
        true => ScriptFile::find(&beside.display().to_string())?,
        false => ScriptFile::find(&case.script)?,
    };
    let declaration = planned::declaration(&script).await?;
    let given = if case.given.is_null() { json!({}) } else { case.given.clone() };
    let mut subject = Subject::new(script.source, script.loader, &declaration, given, case.host.clone());
    if case.public.is_some() {
        subject.public.clone_from(&case.public);
    }
    let handle = Handle::current();
    let verdict = tokio::task::spawn_blocking(move || case.run(&subject, &handle));
    verdict.await.into_diagnostic()?.map_err(report)
}
