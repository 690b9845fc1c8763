//! The definition file of the Rhai language server, with which editors complete and document primitives.
//! Returns text; writes no file.

use std::fmt::Write;

use super::catalogue::catalogue;
use super::control_function::CONTROL_FUNCTIONS;
use super::function_doc::{FunctionDoc, function_docs};

/// Name of the definition file.
pub const FILE: &str = "deployer.d.rhai";

/// `step "title" { ... }` is syntax, which a definition cannot express.
const SYNTAX: &str = "step";

/// Returns the content of the file: one declaration for each number of arguments of each function.
pub fn definitions() -> String {
    let mut out = String::from("module static;\n");
    for doc in function_docs().iter().filter(|doc| doc.name != SYNTAX) {
        for arguments in declarations(doc.name) {
            let _ = write!(out, "\n{}fn {}({arguments}) -> ?;\n", comment(doc), doc.name);
        }
    }
    out
}

/// Returns the parameter list of each number of arguments.
fn declarations(name: &str) -> Vec<String> {
    if let Some(primitive) = catalogue().get(name) {
        return primitive
            .arities()
            .map(|arity| {
                let by_position = |at: usize| primitive.positional.get(at).copied().unwrap_or("options");
                let is_map = |at: usize| at + 1 == arity && (arity > primitive.positional.len());
                let parameter = |at| if is_map(at) { "options: map".into() } else { format!("{}: ?", by_position(at)) };
                (0..arity).map(parameter).collect::<Vec<_>>().join(", ")
            })
            .collect();
    }
    let function = CONTROL_FUNCTIONS.iter().find(|function| function.name == name);
    function.map_or_else(Vec::new, |function| {
        function
            .arities
            .iter()
            .map(|arity| (1..=*arity).map(|number| format!("argument{number}: ?")).collect::<Vec<_>>().join(", "))
            .collect()
    })
}

fn comment(doc: &FunctionDoc) -> String {
    let mut text = format!("/// {}\n///\n/// `{}`\n", doc.summary, doc.signature);
    if !doc.options.is_empty() {
        text += "///\n";
    }
    for option in &doc.options {
        let default = option.default.map_or("required".to_owned(), |default| format!("default {default}"));
        let _ = writeln!(text, "/// - `{}` ({}, {default}): {}", option.name, option.kind, option.meaning);
    }
    if doc.access.is_some() {
        let _ = writeln!(text, "///\n/// Returns: {}\n/// Undo: {}", doc.returns, doc.undo);
    }
    let _ = writeln!(text, "///\n/// ```rhai");
    for line in doc.example.lines() {
        let _ = writeln!(text, "/// {line}");
    }
    text + "/// ```\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_primitive_is_declared_with_its_documentation() {
        let text = definitions();
        for primitive in catalogue().values() {
            assert!(text.contains(&format!("fn {}(", primitive.name)), "{}", primitive.name);
            assert!(text.contains(primitive.summary), "{}", primitive.name);
        }
        assert!(text.contains("fn docker_stop(container: ?, options: map) -> ?;"), "{text}");
        assert!(text.contains("fn now() -> ?;"));
        assert!(!text.contains("fn step("));
    }

    #[test]
    fn every_line_is_a_declaration_or_its_comment() {
        for line in definitions().lines().skip(1) {
            assert!(line.is_empty() || line.starts_with("///") || line.ends_with(';'), "{line}");
        }
    }
}
