//! The reference of the language of scripts, as Markdown, JSON and help, made from the pages.
//! Text from data: performs nothing, reads no file.

use std::fmt::Write;

use serde_json::{Value, json};

use super::page::{COMMON_ERRORS, Page, WORDS_CHAPTER, pages};
use crate::effect::ErrorKind;

/// Stands where another option has its default.
const MUST_BE_GIVEN: &str = "must be given";
/// Columns of the words in front of what is said of a primitive.
const FACT: usize = 13;

const HEAD: &str = "\
# Reference

Everything that a script can say. Made from the program's own tables by a test (`UPDATE_DOCS=1 cargo test --test
reference` writes it anew); what `deployer check` and the error messages know is the same.

Scripts are written in [Rhai](https://rhai.rs/book/language/), with its numbers, strings, lists, maps, closures and
functions. Not there: Rhai's own `sleep`, `timestamp` and everything else that would pass the journal by.

- **Calls.** A primitive takes the arguments in front of the map by position, and every option by name in one map:
  `docker_stop(\"web\", #{grace: \"30s\"})`. Positional ones may stand in the map too. `()` for an option is as good as
  leaving it out. An unknown option is an error, and `deployer check` finds it.
- **Containers.** Where a `container` is wanted: its name, its id, or the map that another primitive returned.
- **Durations** are texts: `250ms`, `30s`, `5m`, `1h30m`. **Sizes** too: `512m`, `2g`; or a number of bytes.
- **Results** are plain maps and lists, or `()`.
- **Secrets** are values that print and are stored as their names. Join them to text with `+`.
- **Errors** are the kinds that a primitive itself ends with. Every one may also end with `invalid`, `unavailable`,
  `timeout`, `cancelled`, `journal` and `internal`; [all kinds](#errors).
- **Taken back** says what the run does to an effect when it fails or is cancelled, unless `commit()` came in between.
- **After a crash** says what becomes of an effect that was begun and whose end nobody wrote down: *repeated*, since
  doing it twice does no harm; *looked up*, by asking the engine whether it happened; or *left to a person*.
";

const ERRORS: &str = "\
## Errors

A failed primitive throws a map: `kind`, `message`, `primitive`, and `hint` and `detail`, which may be `()`.
`applied` is `\"no\"` when certainly nothing was changed, else `\"unknown\"`.

```rhai
try {
    docker_stop(\"web\");
} catch (e) {
    if e.kind != \"not_found\" { throw e; }
}
```

A cancelled run and a journal that cannot be written end the script past every `catch`.

| kind | meaning |
|---|---|
";

/// Every kind of error, in the order of the reference.
const KINDS: [ErrorKind; 24] = [
    ErrorKind::NotFound,
    ErrorKind::NameTaken,
    ErrorKind::PortTaken,
    ErrorKind::Conflict,
    ErrorKind::Invalid,
    ErrorKind::Refused,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Failed,
    ErrorKind::Unhealthy,
    ErrorKind::ContainerDied,
    ErrorKind::DatabaseCorrupt,
    ErrorKind::MissingTool,
    ErrorKind::MissingSecret,
    ErrorKind::DiskFull,
    ErrorKind::Locked,
    ErrorKind::Unfinished,
    ErrorKind::Unsupported,
    ErrorKind::Journal,
    ErrorKind::ScriptFailed,
    ErrorKind::Interrupted,
    ErrorKind::Diverged,
    ErrorKind::Internal,
];

/// The whole reference as Markdown.
pub fn reference() -> String {
    let pages = pages();
    let mut chapters: Vec<(&str, String)> = Vec::new();
    for page in &pages {
        if chapters.last().is_none_or(|(title, _)| *title != page.chapter) {
            chapters.push((page.chapter, String::new()));
        }
        if let Some((_, text)) = chapters.last_mut() {
            describe(text, page);
        }
    }
    let mut out = String::from(HEAD);
    let links: Vec<String> = chapters.iter().map(|(title, _)| link(title)).collect();
    let _ = writeln!(out, "\nChapters: {}, {}.", links.join(", "), link("Errors"));
    for (title, text) in &chapters {
        let _ = write!(out, "\n## {title}\n{}{text}", chapter_head(title));
    }
    let _ = write!(out, "\n{ERRORS}");
    for kind in KINDS {
        let _ = writeln!(out, "| `{kind}` | {} |", meaning(kind));
    }
    out
}

/// The whole reference for programs: `{"version", "common_errors", "errors", "pages"}`.
pub fn reference_json() -> Value {
    let errors: serde_json::Map<String, Value> =
        KINDS.iter().map(|kind| (kind.to_string(), meaning(*kind).into())).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "common_errors": COMMON_ERRORS,
        "errors": errors,
        "pages": pages(),
    })
}

fn link(title: &str) -> String {
    format!("[{title}](#{})", title.to_lowercase().replace(' ', "-").replace(',', ""))
}

fn chapter_head(title: &str) -> &'static str {
    if title == WORDS_CHAPTER { "\nThey steer the run itself and touch nothing outside.\n" } else { "" }
}

/// The part of a page that follows its heading.
fn describe(out: &mut String, page: &Page) {
    let _ = writeln!(out, "\n### {}\n\n{}\n\n```rhai\n{}\n```", page.name, page.summary, page.example);
    if page.access.is_none() {
        return;
    }
    let _ = writeln!(out);
    if !page.options.is_empty() {
        let by_position = page.options.iter().any(|option| option.position.is_some());
        let heading = if by_position { "option (position)" } else { "option" };
        let _ = writeln!(out, "| {heading} | type | default | meaning |\n|---|---|---|---|");
        for option in &page.options {
            let place = option.position.map(|position| format!(" ({position})")).unwrap_or_default();
            let default = option.default.map_or(MUST_BE_GIVEN.into(), cell);
            let _ =
                writeln!(out, "| `{}`{place} | {} | {default} | {} |", option.name, option.kind, cell(option.meaning));
        }
        let _ = writeln!(out);
    }
    for (word, text) in facts(page) {
        let _ = writeln!(out, "- {word}: {text}");
    }
}

/// What is said of a primitive besides its options.
fn facts(page: &Page) -> Vec<(&'static str, String)> {
    let errors: Vec<String> = page.errors.iter().map(|kind| format!("`{kind}`")).collect();
    let mut facts = vec![("Returns", page.returns.to_owned())];
    if !errors.is_empty() {
        facts.push(("Errors", errors.join(", ")));
    }
    facts.push(("Taken back", page.undo.to_owned()));
    facts.extend(page.recovery.map(|recovery| ("After a crash", recovery.to_owned())));
    facts
}

/// A page for a terminal of so many columns.
pub fn help(page: &Page, width: usize) -> String {
    let mut out = format!("{}\n", page.signature);
    for line in wrap(page.summary, width.saturating_sub(2)) {
        let _ = writeln!(out, "  {line}");
    }
    if !page.options.is_empty() {
        let _ = writeln!(out, "\nOptions");
    }
    let longest = page.options.iter().map(|option| option.name.len()).max().unwrap_or(0);
    for option in &page.options {
        let default = option.default.map_or(MUST_BE_GIVEN.to_owned(), |default| format!("default {default}"));
        let text = format!("{}, {default}: {}", option.kind, option.meaning);
        for (at, line) in wrap(&text, width.saturating_sub(longest + 4)).iter().enumerate() {
            let name = if at == 0 { option.name } else { "" };
            let _ = writeln!(out, "  {name:longest$}  {line}");
        }
    }
    if page.access.is_some() {
        let _ = writeln!(out);
        for (word, text) in facts(page) {
            for (at, line) in wrap(&text, width.saturating_sub(FACT + 2)).iter().enumerate() {
                let word = if at == 0 { word } else { "" };
                let _ = writeln!(out, "{word:FACT$}  {line}");
            }
        }
    }
    let _ = writeln!(out, "\nExample");
    for line in page.example.lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// Words on lines of so many columns; a word that is longer has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text as it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "the container, image, volume, file or revision does not exist",
        ErrorKind::NameTaken => "a container or volume of that name is there already",
        ErrorKind::PortTaken => "another process or container listens on that port",
        ErrorKind::Conflict => "the thing is in a state that does not allow this: in use, not running",
        ErrorKind::Invalid => "the request itself is wrong",
        ErrorKind::Refused => "not permitted: credentials, file permissions",
        ErrorKind::Unavailable => "the other side does not answer; trying again may help",
        ErrorKind::Timeout => "the deadline passed",
        ErrorKind::Cancelled => "the run was cancelled; cannot be caught",
        ErrorKind::Failed => "a program, a build or an HTTP request ended with failure",
        ErrorKind::Unhealthy => "it never became healthy",
        ErrorKind::ContainerDied => "the container died while somebody waited for it",
        ErrorKind::DatabaseCorrupt => "the database is damaged",
        ErrorKind::MissingTool => "a program that is needed is not installed",
        ErrorKind::MissingSecret => "a secret that is named is not set",
        ErrorKind::DiskFull => "no room left on the device",
        ErrorKind::Locked => "another run holds the lock",
        ErrorKind::Unfinished => "a killed run holds the lock and must be resumed or aborted first",
        ErrorKind::Unsupported => "this engine cannot do it",
        ErrorKind::Journal => "the journal cannot be written; cannot be caught",
        ErrorKind::ScriptFailed => "the script called `fail`",
        ErrorKind::Interrupted => "the run was killed before the answer came; only in the journal",
        ErrorKind::Diverged => "a resumed script asks for something else than before; cannot be caught",
        ErrorKind::Internal => "a fault of deployer itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_is_listed() {
        // Serde names all of them when it meets one that it does not know.
        let error = serde_json::from_str::<ErrorKind>("\"no such kind\"").unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let listed: Vec<String> = KINDS.iter().map(ToString::to_string).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn a_family_is_one_chapter() {
        let text = reference();
        let mut chapters: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        let count = chapters.len();
        chapters.sort_unstable();
        chapters.dedup();
        assert_eq!(chapters.len(), count);
    }

    #[test]
    fn the_head_names_the_errors_of_all() {
        let head = HEAD.replace('\n', " ");
        let named = head.split("may also end with").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert_eq!(named, COMMON_ERRORS.map(|kind| kind.to_string()));
    }

    #[test]
    fn help_stays_in_its_columns() {
        for page in pages() {
            let text = help(&page, 60);
            let told = text.lines().skip(1).take_while(|line| *line != "Example");
            let long = told.filter(|line| line.chars().count() > 60 && line.trim().contains(' ')).collect::<Vec<_>>();
            assert!(long.is_empty(), "{}: {long:?}", page.name);
        }
    }
}
