//! The definition file that the Rhai language server reads, so that editors complete and explain primitives.
//! Text from the pages; reads no file.

use std::fmt::Write;

use super::catalogue::catalogue;
use super::control::WORDS;
use super::page::{Page, pages};

/// The file's name in a folder of definitions.
pub const FILE: &str = "deployer.d.rhai";

/// `step "title" { ... }` is syntax and no function: a definition cannot say it.
const SYNTAX: &str = "step";

/// The whole file: one declaration for each number of arguments of each name.
pub fn definitions() -> String {
    let mut out = String::from("module static;\n");
    for page in pages().iter().filter(|page| page.name != SYNTAX) {
        for arguments in declarations(page.name) {
            let _ = write!(out, "\n{}fn {}({arguments}) -> ?;\n", comment(page), page.name);
        }
    }
    out
}

/// The arguments of each form of a call.
fn declarations(name: &str) -> Vec<String> {
    if let Some(primitive) = catalogue().get(name) {
        return primitive
            .arities()
            .map(|arity| {
                let by_position = |at: usize| primitive.positional.get(at).copied().unwrap_or("options");
                let is_map = |at: usize| at + 1 == arity && (arity > primitive.positional.len());
                let one = |at| if is_map(at) { "options: map".into() } else { format!("{}: ?", by_position(at)) };
                (0..arity).map(one).collect::<Vec<_>>().join(", ")
            })
            .collect();
    }
    let word = WORDS.iter().find(|word| word.name == name);
    word.map_or_else(Vec::new, |word| {
        word.arities
            .iter()
            .map(|arity| (1..=*arity).map(|number| format!("argument{number}: ?")).collect::<Vec<_>>().join(", "))
            .collect()
    })
}

fn comment(page: &Page) -> String {
    let mut text = format!("/// {}\n///\n/// `{}`\n", page.summary, page.signature);
    if !page.options.is_empty() {
        text += "///\n";
    }
    for option in &page.options {
        let default = option.default.map_or("must be given".to_owned(), |default| format!("default {default}"));
        let _ = writeln!(text, "/// - `{}` ({}, {default}): {}", option.name, option.kind, option.meaning);
    }
    if page.access.is_some() {
        let _ = writeln!(text, "///\n/// Returns: {}\n/// Taken back: {}", page.returns, page.undo);
    }
    let _ = writeln!(text, "///\n/// ```rhai");
    for line in page.example.lines() {
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
    fn every_line_is_a_declaration_or_speaks_of_one() {
        for line in definitions().lines().skip(1) {
            assert!(line.is_empty() || line.starts_with("///") || line.ends_with(';'), "{line}");
        }
    }
}
