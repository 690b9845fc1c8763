//! The parameters of a script as a table, from its own `params(#{...})`, in the order in which it declares them.

use std::fmt::Write;
use std::sync::Arc;

use deployer::script::params::Param;
use deployer::script::program::Program;
use deployer::script::source::{Source, SourceLoader};
use serde_json::Value;

/// The stdlib is embedded; a shipped script needs nothing else.
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

/// Where the script writes the parameter down: on a line of its own, or in the group that is.
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
        Some(Value::Array(items)) if items.len() > 2 => "the guide's list".into(),
        Some(value) => format!("`{}`", cell(&value.to_string())),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Replaces what stands between the markers of `name`.
#[track_caller]
pub fn put(readme: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- parameters of {name} -->\n"), format!("<!-- end of {name} -->"));
    let from = readme.find(&begin).unwrap_or_else(|| panic!("README.md has no marker for {name}")) + begin.len();
    let to = from + readme[from..].find(&end).unwrap_or_else(|| panic!("README.md has no end marker for {name}"));
    format!("{}{table}{}", &readme[..from], &readme[to..])
}
