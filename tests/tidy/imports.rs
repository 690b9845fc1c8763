//! Which module may import which: the table in `src/lib.rs`, read from there.

use std::collections::BTreeMap;

use super::sources::{assert_none, sources, table};

/// The modules of `src/` with those that each may import. A module that may import everything is not in it.
fn allowed_imports() -> BTreeMap<String, Vec<String>> {
    let rows = table("src/lib.rs", "## Which module may import which");
    let allowed = |cell: &str| cell.split(',').map(|module| module.trim().to_owned()).collect();
    rows.iter()
        .filter(|row| row[1] != "everything")
        .map(|row| (row[0].trim_matches('`').to_owned(), allowed(&row[1])))
        .collect()
}

/// Concrete worlds and stores: only their own folder and `app` may name them.
const CONCRETE: &[&str] = &[
    "world::docker",
    "world::local",
    "world::sim",
    "world::services",
    "journal::sqlite_journal",
    "journal::memory_journal",
];

/// The paths behind `crate::` in a line of code: `crate::world::{docker, sim}` gives both.
fn crate_paths(line: &str) -> Vec<String> {
    line.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            let (head, tail) = rest.split_once('{').unwrap_or((rest, ""));
            let head: String = head.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            match tail.split_once('}') {
                Some((group, _)) if rest.starts_with(&format!("{head}{{")) => {
                    group.split(',').map(|item| format!("{head}{}", item.trim())).collect()
                }
                _ => vec![head],
            }
        })
        .collect()
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let imports = allowed_imports();
    assert!(imports.len() > 10, "the table in src/lib.rs was not found");
    let mut violations = Vec::new();
    for source in sources() {
        let module = source.module().to_owned();
        if ["lib", "main", "app"].contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = imports.get(&module) else {
            violations.push(format!("{}: `{module}` has no row in the table", source.path));
            continue;
        };
        for (number, line) in source.code() {
            for path in crate_paths(line) {
                let target = path.split(':').next().unwrap_or_default().to_owned();
                let known = imports.contains_key(&target) || target == "app";
                if known && target != module && !allowed.contains(&target) {
                    violations.push(format!("{}:{number}: `{module}` may not import `{target}`", source.path));
                }
            }
        }
    }
    assert_none("imports against the table in src/lib.rs", violations);
}

#[test]
fn only_the_composition_root_names_concrete_worlds_and_stores() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| !["app", "main", "lib"].contains(&source.module())) {
        for (number, line) in source.code() {
            for path in crate_paths(line) {
                let concrete = CONCRETE.iter().find(|concrete| path.starts_with(**concrete));
                // A module may name its own parts, as the worlds do with the services that they share.
                let own = concrete.is_some_and(|concrete| concrete.starts_with(source.module()));
                // Plan and verify need the simulated world, and a journal in memory.
                let simulated = ["world::sim", "journal::memory_journal"];
                let simulates = ["verify", "plan"].contains(&source.module());
                let own = own || simulates && simulated.iter().any(|allowed| path.starts_with(allowed));
                // The supervisor of a local process is a hidden command without an app.
                let own = own || path == "world::local::shim::shim_main";
                if concrete.is_some() && !own {
                    violations.push(format!("{}:{number}: `{path}` only `app` may name it", source.path));
                }
            }
        }
    }
    assert_none("concrete worlds and stores outside `app`", violations);
}
