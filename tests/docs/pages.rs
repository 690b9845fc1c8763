//! The pages of the documentation, by their paths in the repository.

use std::fs;
use std::path::Path;

/// Returns the chapters of the book, sorted, without the table of contents.
pub fn chapters() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut chapters: Vec<String> =
        names.filter(|name| name != "SUMMARY.md").map(|name| format!("docs/src/{name}")).collect();
    chapters.sort();
    chapters
}
