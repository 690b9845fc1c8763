//! The style of the house, as a test: who may import whom, who may touch the outside, size and first lines of files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;

/// Who may import whom: a module of `src/`, and the others that its `use crate::` lines may name.
/// Whoever is not listed (`app`, `main`) may import everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("effect", &["base"]),
    ("proxy", &["base", "effect"]),
    ("world", &["base", "effect", "proxy"]),
    ("journal", &["base", "effect"]),
    ("gateway", &["base", "effect", "journal", "world"]),
    ("script", &["base", "effect", "journal", "gateway"]),
    ("run", &["base", "effect", "journal", "gateway", "script", "world"]),
    ("verify", &["base", "effect", "journal", "gateway", "script", "run", "world"]),
    ("plan", &["base", "effect", "journal", "gateway", "script", "run", "verify", "world"]),
    ("report", &["base", "effect", "journal", "gateway", "run"]),
    ("api", &["base", "effect", "journal", "run", "report"]),
    ("repl", &["base", "effect", "journal", "gateway", "script", "run", "verify", "plan", "report"]),
    (
        "cli",
        &[
            "base", "effect", "journal", "gateway", "script", "run", "verify", "plan", "report", "api", "repl",
            "world", "proxy", "app",
        ],
    ),
];

/// Concrete worlds and stores: only their own folder and `app` name them.
const CONCRETE: &[&str] = &[
    "world::docker",
    "world::local",
    "world::sim",
    "world::services",
    "journal::sqlite_journal",
    "journal::memory_journal",
];

/// What only its owners may do: the words, the owners below `src/`, and what everybody else takes in its place.
const OWNED: &[(&[&str], &[&str], &str)] = &[
    (&["Instant::now", "SystemTime::now"], &["world/", "proxy/"], "`World::clock()`, or the `now` effect"),
    // These two watch the worlds themselves, so they cannot trust their clock.
    (
        &["thread::sleep", "time::sleep("],
        &["world/", "proxy/", "gateway/deadline.rs", "cli/signals.rs"],
        "`Clock::sleep`, or the `sleep` effect",
    ),
    (&["Command::new", "tokio::process"], &["world/", "proxy/handover.rs", "app.rs"], "the `exec` effect"),
    (
        &["std::fs", "tokio::fs", "File::open", "File::create"],
        &["world/", "proxy/", "app.rs", "app/", "cli/", "journal/journal_file.rs"],
        "an effect; for a script's source, what `app` hands in",
    ),
    (
        &["std::env", "env::var"],
        &["world/", "app.rs", "app/", "main.rs", "cli/"],
        "the `env` primitive, or what `app` hands in",
    ),
    (
        &["getrandom", "rand::", "fastrand"],
        &["world/", "proxy/", "app.rs", "app/"],
        "an id that `app` or the world hands in",
    ),
    (&["process::exit"], &["main.rs", "world/local/"], "an exit code returned to `main`"),
    (
        &["println!", "print!(", "eprint!("],
        &["main.rs", "cli/", "report/", "repl/", "world/local/", "app.rs", "app/"],
        "a `RunEvent`, which `report` shows",
    ),
];

const PANICS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];

/// Words that tell of unfinished work; put together here so that this file does not hold them.
const LEFTOVERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!("), concat!("#[ig", "nore")];

/// A source file: its path below the package's folder, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Its path below `src/`.
    fn place(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// The first part of its path: the module that it belongs to.
    fn module(&self) -> &str {
        self.place().split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Its lines outside tests, numbered from 1, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let end = lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'))
            .unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(index, line)| (index + 1, without_comment(line)))
    }
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&package().join(folder), extensions, &mut found);
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(package()).unwrap().to_str().unwrap().to_owned(),
        })
        .collect()
}

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<PathBuf>) {
    // Not every folder is there from the first day.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extensions.iter().any(|extension| path.extension().is_some_and(|own| own == *extension)) {
            found.push(path);
        }
    }
}

/// The sources of `src/` without the files that only tests compile.
fn sources() -> Vec<Source> {
    let all = files("src", &["rs"]);
    let test_only: BTreeSet<String> = all.iter().flat_map(test_modules).collect();
    all.into_iter().filter(|source| !test_only.iter().any(|start| source.path.starts_with(start))).collect()
}

/// `#[cfg(test)] mod name;`: the beginning of the paths of its files.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix("/lib.rs")) {
        Some(folder) => folder.to_owned(),
        None => source.path.trim_end_matches(".rs").to_owned(),
    };
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter(|pair| pair[0] == "#[cfg(test)]")
        .filter_map(|pair| pair[1].strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
        .collect()
}

fn assert_none(what: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
}

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
fn modules_import_only_whom_they_may() {
    let mut violations = Vec::new();
    for source in sources() {
        let Some((module, allowed)) = IMPORTS.iter().find(|(module, _)| *module == source.module()) else { continue };
        for (number, line) in source.code() {
            for path in crate_paths(line) {
                let target = path.split(':').next().unwrap_or_default();
                if IMPORTS.iter().any(|(known, _)| *known == target) && target != *module && !allowed.contains(&target)
                {
                    violations.push(format!("{}:{number}: `{module}` may not import `{target}`", source.path));
                }
                if target == "app" && !allowed.contains(&"app") {
                    violations.push(format!("{}:{number}: `{module}` may not import `app`", source.path));
                }
            }
        }
    }
    assert_none("imports against the table at the top of tests/tidy.rs", violations);
}

#[test]
fn only_the_composition_root_names_concrete_worlds_and_stores() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| !["app", "main", "lib"].contains(&source.module())) {
        for (number, line) in source.code() {
            for path in crate_paths(line) {
                let concrete = CONCRETE.iter().find(|concrete| path.starts_with(**concrete));
                // A module may name what is its own, as the worlds do with the services that they share.
                let own = concrete.is_some_and(|concrete| concrete.starts_with(source.module()));
                // The supervisor of a local process is a hidden verb: it has no app.
                // Who proves a script needs the world in which nothing is real, and no journal on a disk.
                let simulated = ["world::sim", "journal::memory_journal"];
                let simulates = ["verify", "plan"].contains(&source.module());
                let own = own || simulates && simulated.iter().any(|twin| path.starts_with(twin));
                let own = own || path == "world::local::shim::shim_main";
                if concrete.is_some() && !own {
                    violations.push(format!("{}:{number}: `{path}` is for `app` to name", source.path));
                }
            }
        }
    }
    assert_none("concrete worlds and stores outside `app`", violations);
}

#[test]
fn only_owners_touch_the_outside() {
    let mut violations = Vec::new();
    for source in sources() {
        for (words, owners, instead) in OWNED {
            if owners.iter().any(|owner| source.place().starts_with(owner)) {
                continue;
            }
            for (number, line) in source.code() {
                if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                    violations.push(format!("{}:{number}: `{word}`: use {instead}", source.path));
                }
            }
        }
    }
    assert_none("the outside is touched by code that does not own it", violations);
}

#[test]
fn nothing_panics_outside_tests() {
    let mut violations = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            if let Some(word) = PANICS.iter().find(|word| line.contains(**word)) {
                violations.push(format!("{}:{number}: `{word}`: return an error", source.path));
            }
        }
    }
    assert_none("code that can panic", violations);
}

#[test]
fn files_are_small_and_say_what_they_are() {
    let mut violations = Vec::new();
    for source in files("src", &["rs"]).iter().chain(&files("tests", &["rs"])).chain(&files("benches", &["rs"])) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            violations.push(format!("{}: {lines} lines, at most {LINES_MAX}: split it by type", source.path));
        }
        let first = source.text.lines().next().unwrap_or_default();
        if source.path.starts_with("src/") && !first.starts_with("//! ") {
            violations.push(format!("{}: the first line must say what the file is: `//! ...`", source.path));
        }
    }
    assert_none("files", violations);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut violations = Vec::new();
    let all = ["src", "tests", "benches", "scripts", "stdlib", "examples"];
    for source in all.iter().flat_map(|folder| files(folder, &["rs", "rhai", "py", "toml", "yml", "sh"])) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
                violations.push(format!("{}:{}: `{word}`", source.path, number + 1));
            }
        }
    }
    assert_none("leftovers", violations);
}

#[test]
fn names_say_what_things_are() {
    let vague = ["manager", "helper", "helpers", "util", "utils", "common", "misc", "imp"];
    let violations = files("src", &["rs"])
        .iter()
        .flat_map(|source| source.place().trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>())
        .flat_map(|part| part.split('_').map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| vague.contains(&word.as_str()))
        .collect();
    assert_none("vague file names", violations);
}
