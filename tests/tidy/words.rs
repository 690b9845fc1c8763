//! Plain words: a list of private dialect that is refused in every text that a person reads.

use super::sources::{assert_none, files, package};

/// Words and phrases with the plain ones to use. Matched as whole words, with `_` read as a space, so that names count.
const DIALECT: &[(&str, &str)] = &[
    ("nobody", "no one, or a sentence about what happens"),
    ("somebody", "someone"),
    ("whoever", "who"),
    ("anew", "again"),
    ("take back", "roll back (a run), undo (an effect)"),
    ("takes back", "rolls back (a run), undoes (an effect)"),
    ("took back", "rolled back (a run), undid (an effect)"),
    ("taken back", "rolled back (a run), undone (an effect)"),
    ("taking back", "rolling back (a run), undoing (an effect)"),
    ("unwind", "roll back"),
    ("unwinds", "rolls back"),
    ("unwinding", "rolling back"),
    ("mishap", "fault"),
    ("mishaps", "faults"),
    ("handbook", "docs"),
    ("twin", "simulated counterpart"),
    ("twins", "simulated counterparts"),
    ("census", "inventory"),
    ("rehearsal", "simulation"),
    ("rehearsed", "simulated"),
    ("comes along", "is included"),
    ("come along", "are included"),
    ("lies over", "overlays"),
    ("falls ill", "becomes unhealthy"),
    ("fell ill", "became unhealthy"),
    ("made up by chance", "random"),
    ("by chance", "at random"),
    ("goes on with", "continues"),
    ("go on with", "continue"),
    ("for good", "permanently"),
    ("visitor", "client"),
    ("visitors", "clients"),
];

/// Where people read: folders and the kinds of files in them.
const READ: &[(&str, &[&str])] = &[
    ("src", &["rs", "rhai"]),
    ("tests", &["rs"]),
    ("benches", &["rs"]),
    ("scripts", &["rhai"]),
    ("stdlib", &["rhai"]),
    ("examples", &["rhai", "toml", "md", "yml"]),
    ("docs", &["md"]),
    (".github", &["md", "yml"]),
];

/// The list itself is in this file.
const THIS_FILE: &str = "tests/tidy/words.rs";

/// The first phrase of the list in a line.
fn dialect(line: &str) -> Option<(&'static str, &'static str)> {
    let plain: String = line.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let spaced = format!(" {} ", plain.split_whitespace().collect::<Vec<_>>().join(" "));
    DIALECT.iter().copied().find(|(phrase, _)| spaced.contains(&format!(" {phrase} ")))
}

#[test]
fn texts_are_in_plain_words() {
    let top = std::fs::read_dir(package()).unwrap().flatten().map(|entry| entry.path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let top = top
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()));
    let folders = READ.iter().flat_map(|(folder, extensions)| files(folder, extensions));
    let folders = folders.map(|source| (source.path, source.text));
    let mut violations = Vec::new();
    for (path, text) in top.chain(folders).filter(|(path, _)| path != THIS_FILE) {
        for (number, line) in text.lines().enumerate() {
            // Names that old journals and scripts use are still read, and libraries have names of their own.
            if ["alias", "de::Visitor", "catch_unwind", "resume_unwind"].iter().any(|name| line.contains(name)) {
                continue;
            }
            if let Some((phrase, instead)) = dialect(line) {
                violations.push(format!("{path}:{}: `{phrase}`: write {instead}", number + 1));
            }
        }
    }
    assert_none("private dialect", violations);
}

#[test]
fn dialect_is_found_in_prose_and_in_names() {
    assert_eq!(dialect("/// Nobody answers.").map(|(phrase, _)| phrase), Some("nobody"));
    assert_eq!(dialect("fn taken_back() {").map(|(phrase, _)| phrase), Some("taken back"));
    assert_eq!(dialect("let twinkle = 1;"), None);
}
