//! No two files import each other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, assert_none, sources};

/// The module path of a file: `run/inventory/mod.rs` is `run::inventory`.
fn module_path(source: &Source) -> Vec<String> {
    let path = source.path_in_src().trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The paths that `use` lines of a file name, resolved against the module: `super::a::B` and `crate::a::b::C`.
fn imports(source: &Source, own: &[String]) -> Vec<Vec<String>> {
    let code: String = source.code().map(|(_, line)| line).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for statement in code.split("use ").skip(1).filter_map(|rest| rest.split_once(';').map(|(statement, _)| statement))
    {
        for path in expand(statement) {
            let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
            let mut base: Vec<String> = match parts[0].as_str() {
                "crate" => Vec::new(),
                "self" => own.to_vec(),
                "super" => own[..own.len() - 1].to_vec(),
                _ => continue,
            };
            parts.remove(0);
            while parts.first().is_some_and(|part| part == "super") {
                base.pop();
                parts.remove(0);
            }
            found.push(base.into_iter().chain(parts).collect());
        }
    }
    found
}

/// `a::{b, c::{d, e}}` as single paths.
fn expand(statement: &str) -> Vec<String> {
    let Some((head, rest)) = statement.split_once('{') else {
        return vec![statement.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in inner.chars() {
        match c {
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items
        .iter()
        .filter(|item| !item.trim().is_empty())
        .flat_map(|item| expand(&format!("{head}{}", item.trim())))
        .collect()
}

/// The files that a file reaches by its imports, as an index into `paths`. A parent module is not counted: its children
/// see it by nature.
fn graph(all: &[Source]) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let paths: BTreeSet<Vec<String>> = all.iter().map(module_path).collect();
    let mut graph = BTreeMap::new();
    for source in all {
        let own = module_path(source);
        let targets = imports(source, &own).into_iter().filter_map(|path| {
            (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|prefix| paths.contains(prefix))
        });
        let others = targets.filter(|target| !own.starts_with(target) && !target.starts_with(&own));
        graph.insert(own.clone(), others.collect());
    }
    graph
}

fn reaches(graph: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>, from: &Vec<String>, to: &Vec<String>) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        for target in graph.get(next).into_iter().flatten() {
            if target == to {
                return true;
            }
            if seen.insert(target) {
                open.push(target);
            }
        }
    }
    false
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let graph = graph(&sources());
    let circular = graph.keys().filter(|file| reaches(&graph, file, file)).map(|file| file.join("::"));
    assert_none("files in a circle of imports", circular.collect());
}

#[test]
fn nested_imports_are_expanded() {
    assert_eq!(expand("super::{a, b::{c, d as e}}"), ["super::a", "super::b::c", "super::b::d"]);
}
