//! The size, first line and name of source files, and markers of unfinished work.

use super::sources::{assert_none, files};

const LINES_MAX: usize = 400;

/// Markers of unfinished work, concatenated so that this file does not contain them.
const MARKERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!("), concat!("#[ig", "nore")];

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
    assert_none("file size and first line", violations);
}

#[test]
fn no_markers_of_unfinished_work() {
    let mut violations = Vec::new();
    let all = ["src", "tests", "benches", "scripts", "stdlib", "examples"];
    for source in all.iter().flat_map(|folder| files(folder, &["rs", "rhai", "py", "toml", "yml", "sh"])) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(word) = MARKERS.iter().find(|word| line.contains(**word)) {
                violations.push(format!("{}:{}: `{word}`", source.path, number + 1));
            }
        }
    }
    assert_none("markers of unfinished work", violations);
}

#[test]
fn file_names_are_specific() {
    let vague = ["manager", "helper", "helpers", "util", "utils", "common", "misc", "imp"];
    let violations = files("src", &["rs"])
        .iter()
        .flat_map(|source| {
            source.path_in_src().trim_end_matches(".rs").split('/').map(str::to_owned).collect::<Vec<_>>()
        })
        .flat_map(|part| part.split('_').map(str::to_owned).collect::<Vec<_>>())
        .filter(|word| vague.contains(&word.as_str()))
        .collect();
    assert_none("vague file names", violations);
}
