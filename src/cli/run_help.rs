//! `deployer run SCRIPT --help`: what a script declares.

use std::fmt::Write;

use crate::script::params::Declaration;
use crate::script::source::Source;

/// The head comment of the script and its parameters: name, type, default, meaning.
pub fn text(source: &Source, declaration: &Declaration) -> String {
    let mut out = String::new();
    for line in source.text.lines().take_while(|line| line.starts_with("//")) {
        let _ = writeln!(out, "{}", line.trim_start_matches('/').trim_start());
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "Usage: deployer run {} [--config FILE.toml] [--set KEY=VALUE]...", source.name);
    let params = declaration.flat();
    if params.is_empty() {
        let _ = writeln!(out, "\nThis script declares no parameters.");
        return out;
    }
    let _ = writeln!(out, "\nParameters:");
    let width = params.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, param) in params {
        let default = match &param.default {
            None => "required".to_owned(),
            Some(serde_json::Value::Null) => "not set".to_owned(),
            Some(value) => format!("default {value}"),
        };
        let _ = writeln!(out, "  {name:width$}  {} ({}, {default})", param.doc, param.kind.name());
    }
    out
}
