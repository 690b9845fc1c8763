//! Reads the source files for the tidy tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path relative to the package, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    /// The path relative to `src/`.
    pub fn path_in_src(&self) -> &str {
        self.path.strip_prefix("src/").unwrap_or(&self.path)
    }

    /// The top-level module: the first part of the path.
    pub fn module(&self) -> &str {
        self.path_in_src().split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The lines outside test modules, numbered from 1, without comments.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
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

pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn files(folder: &str, extensions: &[&str]) -> Vec<Source> {
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
    // Not every folder exists.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extensions.iter().any(|extension| path.extension().is_some_and(|actual| actual == *extension)) {
            found.push(path);
        }
    }
}

/// The sources of `src/`, without files that are compiled only for tests.
pub fn sources() -> Vec<Source> {
    let all = files("src", &["rs"]);
    let test_only: BTreeSet<String> = all.iter().flat_map(test_modules).collect();
    all.into_iter().filter(|source| !test_only.iter().any(|start| source.path.starts_with(start))).collect()
}

/// Path prefixes of the modules that a file declares with `#[cfg(test)] mod name;`.
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

#[track_caller]
pub fn assert_none(what: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
}

/// The rows of the first Markdown table below a heading in the doc comment of a file; each row is its cells.
pub fn table(path: &str, heading: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(package().join(path)).unwrap();
    text.lines()
        .map(|line| line.trim_start_matches("//!").trim())
        .skip_while(|line| *line != heading)
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}
