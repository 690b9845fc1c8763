//! A session that was killed: `resume` opens it again with what it did, `abort` takes it back.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::session::{RUN, engine, piped, resumed};
use crate::support::deployer::Deployer;
use crate::support::watched_run::until_stopped;

const SET_ASIDE: &str = "docker_create(#{name: \"old\", image: \"hello:v1\"}).name\ndocker_remove(\"old\").removed\n";
const NAMES: &str = "docker_list(#{all: true}).map(|c| c.name)\n";

/// A session that takes these inputs and is killed once it has printed `last`.
fn killed(deployer: &Deployer, inputs: &str, last: &str) {
    let mut child = deployer.command(&["repl", "--engine", "local", "--yes"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(inputs.as_bytes()).unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = said.any(|line| line.unwrap() == last);
    child.kill().unwrap();
    child.wait().unwrap();
    // Not before: the end of its inputs is the end of a session.
    drop(stdin);
    assert!(seen, "never `{last}`");
}

/// A session that takes these inputs and is killed at an entry of its journal.
fn killed_at(deployer: &Deployer, inputs: &str, at: &str) {
    let inputs = File::open(deployer.file("inputs", inputs)).unwrap();
    let mut command = deployer.command(&["repl", "--engine", "local", "--yes"]);
    let mut child = command.env("DEPLOYER_HALT_AT_ENTRY", at).stdin(inputs).spawn().unwrap();
    assert!(until_stopped(&mut child), "{at}: the session ended");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_session_killed_in_an_undo_is_opened_again() {
    // The beginning, two entries for each volume, two for what is taken back.
    for at in ["after:6", "before:7", "after:7"] {
        let deployer = engine();
        killed_at(&deployer, "volume_create(\"a\");\nvolume_create(\"b\");\n:undo\n", at);
        let left = if at == "after:7" { "(none)\n" } else { "a\n" };
        let on = resumed(&deployer, ":undo\nvolume_list().map(|v| v.name)\n").ok();
        assert!(on.stdout.ends_with(left), "{at}: {}", on.said());
    }
}

#[test]
fn a_session_killed_while_all_of_it_was_taken_back_is_taken_back() {
    // As above; then the beginning of the end, and two for each removal.
    for at in ["after:6", "after:7", "before:8", "after:8", "before:10"] {
        let deployer = engine();
        killed_at(&deployer, "volume_create(\"a\");\nvolume_create(\"b\");\nfail(\"no\");\n", at);
        let end = deployer.call(&["resume", "last", "--engine", "local"]).code(130);
        end.says("everything it did was taken back");
        assert_eq!(piped(&deployer, &[], "volume_list().map(|v| v.name)").ok().stdout, "(none)\n", "{at}");
    }
}

#[test]
fn a_killed_session_is_opened_again_and_what_it_did_is_taken_back_or_kept() {
    let deployer = engine();
    killed(&deployer, &format!("{RUN}{SET_ASIDE}let a = 41;\na\n"), "41");
    let on = resumed(&deployer, &format!(":pile\n:undo\n{NAMES}:undo\n{NAMES}:save on.rhai\n")).ok();
    let on = on.says("the session goes on without its variables\n4 of its inputs can be taken back");
    assert!(on.stdout.contains("taken back: docker_rename old -> old-removed-"), "{}", on.stdout);
    assert!(on.stdout.contains("\nold\nweb\n") || on.stdout.contains("\nweb\nold\n"), "{}", on.stdout);
    assert!(on.stdout.contains("taken back: docker_create old (hello:v1)\nweb\n"), "{}", on.stdout);
    let saved = std::fs::read_to_string(deployer.home().join("on.rhai")).unwrap();
    assert!(saved.contains("// before the session was opened again: docker_run web (hello:v1)\n"), "{saved}");
    // It ended well: what was not taken back stays, and nobody needs to go on with it.
    deployer.call(&["resume", "last", "--engine", "local"]).code(2).says("has ended: succeeded");
    assert_eq!(
        piped(&deployer, &["--yes"], &format!("{NAMES}let gone = docker_remove(\"web\", #{{force: true}});\n"))
            .ok()
            .stdout,
        "web\n"
    );
}

#[test]
fn what_a_killed_session_set_aside_is_removed_at_its_end() {
    let deployer = engine();
    killed(&deployer, &format!("{RUN}{SET_ASIDE}"), "true");
    let on = deployer.call(&["resume", "last", "--engine", "local"]).ok();
    on.says("4 of its inputs can be taken back");
    assert_eq!(
        piped(&deployer, &["--yes"], &format!("{NAMES}let gone = docker_remove(\"web\", #{{force: true}});\n"))
            .ok()
            .stdout,
        "web\n"
    );
}

#[test]
fn the_closures_of_a_killed_session_are_lost_and_it_is_said() {
    let deployer = engine();
    killed(&deployer, "volume_create(\"data\");\non_rollback(|| log(\"closure\"));\n41\n", "41");
    let on = resumed(&deployer, ":undo\n").code(3);
    let on = on
        .says("`on_rollback` cannot be taken back: the closure was lost")
        .says("left to you: the closure of `on_rollback`");
    on.says("left to you: `volume_create data` is not taken back");
    assert_eq!(piped(&deployer, &[], "volume_list().map(|v| v.name)").ok().stdout, "data\n");
}

#[test]
fn a_killed_session_is_aborted() {
    let deployer = engine();
    killed(&deployer, &format!("{RUN}41\n"), "41");
    deployer.call(&["abort", "last", "--engine", "local"]).ok();
    assert_eq!(piped(&deployer, &[], NAMES).ok().stdout, "(none)\n");
}
