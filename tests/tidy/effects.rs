//! Which modules may use files, processes, the clock and the environment; and that no code outside tests panics.

use super::sources::{assert_none, sources};

/// Restricted calls: the patterns, the paths below `src/` that may use them, and what other code uses instead.
const RESTRICTED: &[(&[&str], &[&str], &str)] = &[
    (&["Instant::now", "SystemTime::now"], &["world/", "proxy/"], "`World::clock()`, or the `now` effect"),
    // These two supervise the worlds, so they cannot rely on the clock of a world.
    (
        &["thread::sleep", "time::sleep("],
        &["world/", "proxy/", "gateway/deadline.rs", "cli/signals.rs"],
        "`Clock::sleep`, or the `sleep` effect",
    ),
    (&["Command::new", "tokio::process"], &["world/", "proxy/handover.rs", "app.rs"], "the `exec` effect"),
    (
        &["std::fs", "tokio::fs", "File::open", "File::create"],
        &["world/", "proxy/", "app.rs", "app/", "cli/", "journal/journal_file.rs"],
        "an effect; for a script's source, what `app` passes in",
    ),
    (
        &["std::env", "env::var"],
        &["world/", "app.rs", "app/", "main.rs", "cli/"],
        "the `env` primitive, or what `app` passes in",
    ),
    (
        &["getrandom", "rand::", "fastrand"],
        &["world/", "proxy/", "app.rs", "app/"],
        "an id that `app` or the world passes in",
    ),
    (&["process::exit"], &["main.rs", "world/local/"], "an exit code returned to `main`"),
    (
        &["println!", "print!(", "eprint!("],
        &["main.rs", "cli/", "report/", "repl/", "world/local/", "app.rs", "app/"],
        "a `RunEvent`, which `report` shows",
    ),
];

const PANICS: &[&str] = &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("];

#[test]
fn only_owners_use_restricted_calls() {
    let mut violations = Vec::new();
    for source in sources() {
        for (patterns, allowed_paths, instead) in RESTRICTED {
            if allowed_paths.iter().any(|allowed| source.path_in_src().starts_with(allowed)) {
                continue;
            }
            for (number, line) in source.code() {
                if let Some(pattern) = patterns.iter().find(|pattern| line.contains(**pattern)) {
                    violations.push(format!("{}:{number}: `{pattern}`: use {instead}", source.path));
                }
            }
        }
    }
    assert_none("restricted calls outside the modules that may use them", violations);
}

#[test]
fn nothing_panics_outside_tests() {
    let mut violations = Vec::new();
    for source in sources() {
        for (number, line) in source.code() {
            if let Some(pattern) = PANICS.iter().find(|pattern| line.contains(**pattern)) {
                violations.push(format!("{}:{number}: `{pattern}`: return an error", source.path));
            }
        }
    }
    assert_none("code that can panic", violations);
}
