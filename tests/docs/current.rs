//! Files of the repository that tests generate. A test fails if its file is out of date.

use std::fs;
use std::path::{Path, PathBuf};

fn absolute(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[track_caller]
#[allow(dead_code, reason = "screens of sessions are generated, but not read")]
pub fn package_file(path: &str) -> String {
    fs::read_to_string(absolute(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Asserts that the file contains `text`, and names the first line that differs. With `UPDATE_DOCS=1` it writes the file.
#[track_caller]
#[allow(dead_code, reason = "the README is also read without being generated")]
pub fn assert_current(path: &str, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(absolute(path), text).unwrap();
        return;
    }
    let stored = fs::read_to_string(absolute(path)).unwrap_or_default();
    if stored == text {
        return;
    }
    let differs = stored.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = differs.unwrap_or_else(|| stored.lines().count().min(text.lines().count()));
    panic!(
        "{path}:{}: is\n  {}\nand should be\n  {}\nwrite it again: UPDATE_DOCS=1 cargo test --test reference",
        line + 1,
        stored.lines().nth(line).unwrap_or("(nothing)"),
        text.lines().nth(line).unwrap_or("(nothing)")
    );
}
