//! The reference of the language of scripts, as Markdown, made from what every word and primitive says of itself.
//! Text from data: performs nothing, reads no file.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, Map};

use super::control::{WORDS, Word};
use super::family;
use super::primitive::Primitive;
use crate::effect::{Access, Effect, ErrorKind, Recovery};

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

/// The whole reference.
pub fn reference() -> String {
    let primitives = family::all();
    let mut out = String::from(HEAD);
    let mut chapter = "";
    let mut chapters: Vec<(&str, String)> = Vec::new();
    for primitive in &primitives {
        let effect = asked_by_example(primitive, &primitives);
        let title = effect.as_ref().map_or(chapter, chapter_of);
        if title != chapter {
            chapters.push((title, String::new()));
            chapter = title;
        }
        if let Some((_, text)) = chapters.last_mut() {
            describe(text, primitive, effect.as_ref());
        }
    }
    let _ = writeln!(out, "\nChapters: [Words](#words){}, [Errors](#errors).", links(&chapters));
    let _ = writeln!(out, "\n## Words\n\nThey steer the run itself and touch nothing outside.");
    for word in WORDS {
        describe_word(&mut out, word);
    }
    for (title, text) in &chapters {
        let _ = write!(out, "\n## {title}\n{text}");
    }
    let _ = write!(out, "\n{ERRORS}");
    for kind in KINDS {
        let _ = writeln!(out, "| `{kind}` | {} |", meaning(kind));
    }
    out
}

fn links(chapters: &[(&str, String)]) -> String {
    chapters
        .iter()
        .map(|(title, _)| format!(", [{title}](#{})", title.to_lowercase().replace(' ', "-").replace(',', "")))
        .collect()
}

fn describe_word(out: &mut String, word: &Word) {
    let _ = writeln!(out, "\n### {}\n\n{}\n\n```rhai\n{}\n```", word.name, word.summary, word.example);
}

fn describe(out: &mut String, primitive: &Primitive, effect: Option<&Effect>) {
    let _ = writeln!(out, "\n### {}\n\n{}\n", primitive.name, primitive.summary);
    let _ = writeln!(out, "```rhai\n{}\n```\n", primitive.example);
    if !primitive.options.is_empty() {
        let _ = writeln!(out, "| {} | type | default | meaning |\n|---|---|---|---|", heading(primitive));
        for option in &primitive.options {
            let position = primitive.positional.iter().position(|name| *name == option.name);
            let place = position.map(|index| format!(" ({})", index + 1)).unwrap_or_default();
            let default = option.default.map_or("must be given".into(), cell);
            let _ = writeln!(out, "| `{}`{place} | {} | {default} | {} |", option.name, option.kind, cell(option.doc));
        }
        let _ = writeln!(out);
    }
    let _ = writeln!(out, "- Returns: {}", primitive.returns);
    let Some(facts) = effect.map(Effect::facts) else { return };
    let undo = match facts.access() {
        Access::Read => "nothing to take back: it only reads",
        Access::Write if primitive.undo.is_empty() => "nothing to take back",
        Access::Write => primitive.undo,
    };
    let _ = writeln!(out, "- Taken back: {undo}");
    let recovery = match facts.recovery() {
        Recovery::Repeat => "repeated",
        Recovery::Observe => "looked up",
        Recovery::Ask => "left to a person",
    };
    let _ = writeln!(out, "- After a crash: {recovery}");
}

/// What the first column holds.
fn heading(primitive: &Primitive) -> &'static str {
    if primitive.positional.is_empty() { "option" } else { "option (position)" }
}

/// Text as it may stand in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The chapter of an effect. Closed: whoever adds a family names its chapter here.
fn chapter_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Container(_) => "Containers",
        Effect::Image(_) => "Images",
        Effect::Volume(_) => "Volumes",
        Effect::Network(_) => "Networks",
        Effect::Compose(_) => "Compose",
        Effect::Health(_) => "Health",
        Effect::Http(_) => "HTTP",
        Effect::Git(_) => "Git",
        Effect::Sqlite(_) => "SQLite",
        Effect::Object(_) => "Storage",
        Effect::Notify(_) => "Notifications",
        Effect::Exec(_) => "Programs",
        Effect::Host(_) => "The machine",
        Effect::Time(_) => "Time",
        Effect::Approval(_) => "Approvals",
        Effect::Lock(_) => "Locks",
        Effect::Traffic(_) => "Traffic",
    }
}

/// The effect that a primitive's own example asks for: the example is run with primitives that only listen.
fn asked_by_example(primitive: &Primitive, all: &[Primitive]) -> Option<Effect> {
    let asked = Arc::new(Mutex::new(None));
    let mut engine = Engine::new_raw();
    for known in all {
        let known = Arc::new(known.clone());
        let (asked, wanted) = (asked.clone(), known.name == primitive.name);
        let listen = {
            let known = known.clone();
            move |args: &[Dynamic]| {
                if wanted && let Ok(effect) = known.effect(args) {
                    *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(effect);
                }
                // What passes for a container, wherever the example hands it on.
                Map::from([("id".into(), "1".into()), ("name".into(), "web".into())])
            }
        };
        for arity in known.arities() {
            let listen = listen.clone();
            match arity {
                0 => engine.register_fn(known.name, move || listen(&[])),
                1 => engine.register_fn(known.name, move |a: Dynamic| listen(&[a])),
                2 => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic| listen(&[a, b])),
                _ => engine.register_fn(known.name, move |a: Dynamic, b: Dynamic, c: Dynamic| listen(&[a, b, c])),
            };
        }
    }
    // What it does with the answer may fail: nobody answered.
    drop(engine.run(primitive.example));
    asked.lock().unwrap_or_else(PoisonError::into_inner).take()
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
    fn every_example_asks_for_its_own_effect() {
        let primitives = family::all();
        for primitive in &primitives {
            let effect = asked_by_example(primitive, &primitives);
            assert_eq!(effect.map(|effect| effect.kind()), Some(primitive.name));
        }
    }

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
}
