//! The reference of script functions as Markdown, JSON and terminal help. Performs no effect and reads no file.

use std::fmt::Write;

use serde_json::{Value, json};

use super::function_doc::{COMMON_ERRORS, CONTROL_CHAPTER, FunctionDoc, function_docs};
use crate::effect::ErrorKind;

/// Shown instead of the default of a required option.
const REQUIRED: &str = "required";
/// Width of the labels before the properties of a primitive, in columns.
const LABEL_WIDTH: usize = 13;

const HEAD: &str = "\
# Reference

All functions that scripts can call. This page is generated from the program's own tables
(`UPDATE_DOCS=1 cargo test --test reference` writes it); `deployer check` and error messages use the same tables.

Scripts are written in [Rhai](https://rhai.rs/book/language/), with its numbers, strings, lists, maps, closures and
functions. Rhai's own `sleep`, `timestamp` and other functions that bypass the journal are not available.

- **Calls.** Arguments before the map are positional. All other options are named, in one map:
  `docker_stop(\"web\", #{grace: \"30s\"})`. Positional arguments can be given in the map too. An option set to `()` counts
  as not given. An unknown option is an error, which `deployer check` finds.
- **Containers.** A `container` is a name, an id, or the map that another primitive returned.
- **Durations** are strings: `250ms`, `30s`, `5m`, `1h30m`. **Sizes** are strings such as `512m` and `2g`, or a number of
  bytes.
- **Results** are plain maps and lists, or `()`.
- **Secrets** are values that are printed and stored by name. Join them to text with `+`.
- **Errors** lists the error kinds of the primitive itself. Every primitive may also end with `invalid`, `unavailable`,
  `timeout`, `cancelled`, `journal` and `internal`; see [all kinds](#errors).
- **Undo** says how a rollback reverses the effect. A run is rolled back when it fails or is cancelled before `commit()`.
- **After a crash** says what `deployer resume` does with an effect that has no recorded outcome: *repeated*, because it
  is safe to repeat; *looked up*, by asking the engine whether it happened; or *decided by an operator*.
";

const ERRORS: &str = "\
## Errors

A failed primitive throws a map with `kind`, `message`, `primitive`, `applied`, `hint` and `detail`. `hint` and `detail`
can be `()`. `applied` is `\"no\"` if nothing was changed, and `\"unknown\"` otherwise.

```rhai
try {
    docker_stop(\"web\");
} catch (e) {
    if e.kind != \"not_found\" { throw e; }
}
```

A cancelled run and a journal that cannot be written end the script, even inside `try`.

| kind | meaning |
|---|---|
";

/// All error kinds, in the order of the reference.
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

/// Returns the whole reference as Markdown.
pub fn reference() -> String {
    let docs = function_docs();
    let mut chapters: Vec<(&str, String)> = Vec::new();
    for doc in &docs {
        if chapters.last().is_none_or(|(title, _)| *title != doc.chapter) {
            chapters.push((doc.chapter, String::new()));
        }
        if let Some((_, text)) = chapters.last_mut() {
            describe(text, doc);
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

/// Returns the whole reference as JSON: `{"version", "common_errors", "errors", "pages"}`.
pub fn reference_json() -> Value {
    let errors: serde_json::Map<String, Value> =
        KINDS.iter().map(|kind| (kind.to_string(), meaning(*kind).into())).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "common_errors": COMMON_ERRORS,
        "errors": errors,
        "pages": function_docs(),
    })
}

fn link(title: &str) -> String {
    format!("[{title}](#{})", title.to_lowercase().replace(' ', "-").replace(',', ""))
}

fn chapter_head(title: &str) -> &'static str {
    if title == CONTROL_CHAPTER { "\nThese functions control the run itself. They perform no effect.\n" } else { "" }
}

/// Writes the section of one function.
fn describe(out: &mut String, doc: &FunctionDoc) {
    let _ = writeln!(out, "\n### {}\n\n{}\n\n```rhai\n{}\n```", doc.name, doc.summary, doc.example);
    if doc.access.is_none() {
        return;
    }
    let _ = writeln!(out);
    if !doc.options.is_empty() {
        let by_position = doc.options.iter().any(|option| option.position.is_some());
        let heading = if by_position { "option (position)" } else { "option" };
        let _ = writeln!(out, "| {heading} | type | default | meaning |\n|---|---|---|---|");
        for option in &doc.options {
            let place = option.position.map(|position| format!(" ({position})")).unwrap_or_default();
            let default = option.default.map_or(REQUIRED.into(), cell);
            let _ =
                writeln!(out, "| `{}`{place} | {} | {default} | {} |", option.name, option.kind, cell(option.meaning));
        }
        let _ = writeln!(out);
    }
    for (label, text) in properties(doc) {
        let _ = writeln!(out, "- {label}: {text}");
    }
}

/// Returns what is documented besides the options: label and text.
fn properties(doc: &FunctionDoc) -> Vec<(&'static str, String)> {
    let errors: Vec<String> = doc.errors.iter().map(|kind| format!("`{kind}`")).collect();
    let mut properties = vec![("Returns", doc.returns.to_owned())];
    if !errors.is_empty() {
        properties.push(("Errors", errors.join(", ")));
    }
    properties.push(("Undo", doc.undo.to_owned()));
    properties.extend(doc.recovery.map(|recovery| ("After a crash", recovery.to_owned())));
    properties
}

/// Renders the documentation of one function for a terminal of `width` columns.
pub fn help(doc: &FunctionDoc, width: usize) -> String {
    let mut out = format!("{}\n", doc.signature);
    for line in wrap(doc.summary, width.saturating_sub(2)) {
        let _ = writeln!(out, "  {line}");
    }
    if !doc.options.is_empty() {
        let _ = writeln!(out, "\nOptions");
    }
    let longest = doc.options.iter().map(|option| option.name.len()).max().unwrap_or(0);
    for option in &doc.options {
        let default = option.default.map_or(REQUIRED.to_owned(), |default| format!("default {default}"));
        let text = format!("{}, {default}: {}", option.kind, option.meaning);
        for (at, line) in wrap(&text, width.saturating_sub(longest + 4)).iter().enumerate() {
            let name = if at == 0 { option.name } else { "" };
            let _ = writeln!(out, "  {name:longest$}  {line}");
        }
    }
    if doc.access.is_some() {
        let _ = writeln!(out);
        for (label, text) in properties(doc) {
            for (at, line) in wrap(&text, width.saturating_sub(LABEL_WIDTH + 2)).iter().enumerate() {
                let label = if at == 0 { label } else { "" };
                let _ = writeln!(out, "{label:LABEL_WIDTH$}  {line}");
            }
        }
    }
    let _ = writeln!(out, "\nExample");
    for line in doc.example.lines() {
        let _ = writeln!(out, "  {line}");
    }
    out
}

/// Wraps text into lines of at most `width` columns. A longer word gets a line of its own.
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

/// Escapes text for a Markdown table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "the container, image, volume, file or revision does not exist",
        ErrorKind::NameTaken => "a container or volume of that name already exists",
        ErrorKind::PortTaken => "another process or container listens on that port",
        ErrorKind::Conflict => "the current state does not allow it: in use, or not running",
        ErrorKind::Invalid => "the request itself is invalid",
        ErrorKind::Refused => "not permitted: credentials, file permissions",
        ErrorKind::Unavailable => "the other side does not answer; a retry may help",
        ErrorKind::Timeout => "the deadline passed",
        ErrorKind::Cancelled => "the run was cancelled; cannot be caught",
        ErrorKind::Failed => "a program, a build or an HTTP request failed",
        ErrorKind::Unhealthy => "it did not become healthy in time",
        ErrorKind::ContainerDied => "the container died during the wait",
        ErrorKind::DatabaseCorrupt => "the database is damaged",
        ErrorKind::MissingTool => "a required program is not installed",
        ErrorKind::MissingSecret => "a secret is not set",
        ErrorKind::DiskFull => "no space left on the device",
        ErrorKind::Locked => "another run holds the lock",
        ErrorKind::Unfinished => "a killed run holds the lock; resume or abort it first",
        ErrorKind::Unsupported => "this engine does not support it",
        ErrorKind::Journal => "the journal cannot be written; cannot be caught",
        ErrorKind::ScriptFailed => "the script called `fail`",
        ErrorKind::Interrupted => "the run was killed before the outcome was known; only in the journal",
        ErrorKind::Diverged => "a resumed script requested something else than before; cannot be caught",
        ErrorKind::Internal => "a bug in deployer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_is_listed() {
        // The error for an unknown kind lists all kinds.
        let error = serde_json::from_str::<ErrorKind>("\"no such kind\"").unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let listed: Vec<String> = KINDS.iter().map(ToString::to_string).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn each_category_has_one_chapter() {
        let text = reference();
        let mut chapters: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        let count = chapters.len();
        chapters.sort_unstable();
        chapters.dedup();
        assert_eq!(chapters.len(), count);
    }

    #[test]
    fn the_introduction_lists_the_common_errors() {
        let head = HEAD.replace('\n', " ");
        let named = head.split("may also end with").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert_eq!(named, COMMON_ERRORS.map(|kind| kind.to_string()));
    }

    #[test]
    fn help_fits_the_width() {
        for doc in function_docs() {
            let text = help(&doc, 60);
            let lines = text.lines().skip(1).take_while(|line| *line != "Example");
            let long = lines.filter(|line| line.chars().count() > 60 && line.trim().contains(' ')).collect::<Vec<_>>();
            assert!(long.is_empty(), "{}: {long:?}", doc.name);
        }
    }
}
