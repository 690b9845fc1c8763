//! A file of the repository that a test makes, and which must be what the test would make now.

use std::fs;
use std::path::{Path, PathBuf};

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
#[allow(dead_code, reason = "the screens of sessions are made, but not read")]
pub fn package_file(path: &str) -> String {
    fs::read_to_string(place(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asserts that the file holds `text`, and names the first line that differs; with `UPDATE_DOCS=1` writes it instead.
#[track_caller]
#[allow(dead_code, reason = "the README is read too, but not made")]
pub fn hold(path: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(place(path), text).unwrap();
        return;
    }
    let there = fs::read_to_string(place(path)).unwrap_or_default();
    if there == text {
        return;
    }
    let differs = there.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| there.lines().count().min(text.lines().count()));
    panic!(
        "{path}:{}: is\n  {}\nand should be\n  {}\nwrite it anew: UPDATE_DOCS=1 cargo test --test reference",
        line + 1,
        there.lines().nth(line).unwrap_or("(nothing)"),
        text.lines().nth(line).unwrap_or("(nothing)")
    );
}
