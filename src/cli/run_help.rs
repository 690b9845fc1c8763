//! `deployer run SCRIPT --help`: the parameters of a script.

use std::fmt::Write;

use crate::script::params::Declaration;
use crate::script::source::Source;

/// Returns the head comment of the script, and its parameters with name, type, default and description.
pub fn text(source: &Source, declaration: &Declaration) -> String {
    let mut out = String::new();
    for line in source.text.lines().take_while(|line| line.starts_with("//")) {
        let _ = writeln!(out, "{}", line.trim_start_matches('/').trim_start());
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "Usage: deployer run {} [--config FILE.toml] [--set KEY=VALUE]... [OPTIONS]", source.name);
    let _ = writeln!(out, "`deployer run --help` lists the options.");
    let mut params = declaration.flat();
    // Required parameters come first.
    params.sort_by_key(|(_, param)| param.default.is_some());
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
        let _ = writeln!(out, "  {name:width$}  {}", param.doc);
        let _ = writeln!(out, "  {:width$}  [{}, {default}]", "", param.kind.name());
    }
    out
}
