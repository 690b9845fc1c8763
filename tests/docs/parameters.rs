//! A table of the parameters of a script, from its `params(#{...})`, in the order of their declaration.

use std::fmt::Write;
use std::sync::Arc;

use deployer::script::params::Param;
use deployer::script::program::Program;
use deployer::script::source::{Source, SourceLoader};
use serde_json::Value;

/// Has no modules. Shipped scripts need only the stdlib, which is embedded.
struct NoModules;

impl SourceLoader for NoModules {
    fn module(&self, name: &str) -> Result<String, String> {
        Err(format!("`{name}` is not part of the program"))
    }

    fn known_modules(&self) -> Vec<String> {
        Vec::new()
    }
}

pub fn table(name: &str, text: &str) -> String {
    let loader: Arc<dyn SourceLoader> = Arc::new(NoModules);
    let declaration = Program::declaration(Source::new(name, text), &loader).unwrap();
    let mut params = declaration.flat();
    params.sort_by_key(|(key, _)| declared_at(text, key));
    let mut table = String::from("| parameter | type | default | meaning |\n|---|---|---|---|\n");
    for (key, param) in params {
        let _ = writeln!(table, "| `{key}` | {} | {} | {} |", param.kind.name(), default(param), cell(&param.doc));
    }
    table
}

/// Returns the position of the parameter in the script: its own line, or its place in the line of its group.
#[track_caller]
fn declared_at(text: &str, key: &str) -> usize {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let line = text.find(&format!("\n    {first}: ")).unwrap_or_else(|| panic!("no line begins with `{first}`"));
    if rest.is_empty() { line } else { line + text[line + 1..].find(&format!(" {rest}: ")).unwrap_or_default() }
}

fn default(param: &Param) -> String {
    match &param.default {
        None => "must be given".into(),
        Some(Value::Null) => "none".into(),
        Some(Value::Array(items)) if items.len() > 2 => "see the script".into(),
        Some(value) => format!("`{}`", cell(&value.to_string())),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
