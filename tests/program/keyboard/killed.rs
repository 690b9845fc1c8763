//! Shell sessions that were killed: `resume` opens a session again with its changes, `abort` rolls it back.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::session::{RUN, engine, piped, resumed};
use crate::support::deployer::Deployer;
use crate::support::watched_run::until_stopped;

const SET_ASIDE: &str = "docker_create(#{name: \"old\", image: \"hello:v1\"}).name\ndocker_remove(\"old\").removed\n";
const NAMES: &str = "docker_list(#{all: true}).map(|c| c.name)\n";

/// Runs a session with these inputs, and kills it once it has printed `last`.
fn kill_after_output(deployer: &Deployer, inputs: &str, last: &str) {
    let mut child = deployer.command(&["repl", "--engine", "local", "--yes"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(inputs.as_bytes()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_printed = output.any(|line| line.unwrap() == last);
    child.kill().unwrap();
    child.wait().unwrap();
    // Not earlier, because a session ends at the end of its input.
    drop(stdin);
    assert!(is_printed, "`{last}` was never printed");
}

/// Runs a session with these inputs, and kills it at a journal entry.
fn kill_at_entry(deployer: &Deployer, inputs: &str, at: &str) {
    let inputs = File::open(deployer.file("inputs", inputs)).unwrap();
    let mut command = deployer.crashing_command(&["repl", "--engine", "local", "--yes"], at);
    let mut child = command.stdin(inputs).spawn().unwrap();
    assert!(until_stopped(&mut child), "{at}: the session ended");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_session_killed_in_an_undo_can_be_resumed() {
    // The entries: the start, two for each volume, two for the undo.
    for at in ["after:6", "before:7", "after:7"] {
        let deployer = engine();
        kill_at_entry(&deployer, "volume_create(\"a\");\nvolume_create(\"b\");\n:undo\n", at);
        let volumes = if at == "after:7" { "(none)\n" } else { "a\n" };
        let session = resumed(&deployer, ":undo\nvolume_list().map(|v| v.name)\n").ok();
        assert!(session.stdout.ends_with(volumes), "{at}: {}", session.said());
    }
}

#[test]
fn a_session_killed_during_its_rollback_is_rolled_back() {
    // As above, then the start of the rollback, and two entries for each removal.
    for at in ["after:6", "after:7", "before:8", "after:8", "before:10"] {
        let deployer = engine();
        kill_at_entry(&deployer, "volume_create(\"a\");\nvolume_create(\"b\");\nfail(\"no\");\n", at);
        let end = deployer.call(&["resume", "last", "--engine", "local"]).code(130);
        end.says("all changes rolled back");
        assert_eq!(piped(&deployer, &[], "volume_list().map(|v| v.name)").ok().stdout, "(none)\n", "{at}");
    }
}

#[test]
fn a_killed_session_is_resumed_and_its_changes_can_be_undone_or_kept() {
    let deployer = engine();
    kill_after_output(&deployer, &format!("{RUN}{SET_ASIDE}let a = 41;\na\n"), "41");
    let session = resumed(&deployer, &format!(":changes\n:undo\n{NAMES}:undo\n{NAMES}:save session.rhai\n")).ok();
    let session = session.says("the session continues without its variables\n4 of its inputs can be undone");
    assert!(session.stdout.contains("undone: docker_rename old -> old-removed-"), "{}", session.stdout);
    assert!(session.stdout.contains("\nold\nweb\n") || session.stdout.contains("\nweb\nold\n"), "{}", session.stdout);
    assert!(session.stdout.contains("undone: docker_create old (hello:v1)\nweb\n"), "{}", session.stdout);
    let saved = std::fs::read_to_string(deployer.home().join("session.rhai")).unwrap();
    assert!(saved.contains("// before the session was resumed: docker_run web (hello:v1)\n"), "{saved}");
    // The session succeeded: changes that were not undone stay, and there is nothing to resume.
    deployer.call(&["resume", "last", "--engine", "local"]).code(2).says("has ended: succeeded");
    assert_eq!(
        piped(&deployer, &["--yes"], &format!("{NAMES}let gone = docker_remove(\"web\", #{{force: true}});\n"))
            .ok()
            .stdout,
        "web\n"
    );
}

#[test]
fn containers_that_a_killed_session_set_aside_are_removed_at_its_end() {
    let deployer = engine();
    kill_after_output(&deployer, &format!("{RUN}{SET_ASIDE}"), "true");
    let session = deployer.call(&["resume", "last", "--engine", "local"]).ok();
    session.says("4 of its inputs can be undone");
    assert_eq!(
        piped(&deployer, &["--yes"], &format!("{NAMES}let gone = docker_remove(\"web\", #{{force: true}});\n"))
            .ok()
            .stdout,
        "web\n"
    );
}

#[test]
fn the_lost_closures_of_a_killed_session_are_reported() {
    let deployer = engine();
    kill_after_output(&deployer, "volume_create(\"data\");\non_rollback(|| log(\"closure\"));\n41\n", "41");
    let session = resumed(&deployer, ":undo\n").code(3);
    let session = session
        .says("`on_rollback` cannot be undone: its closure was lost")
        .says("left to do: the closure of `on_rollback`");
    // What was changed before it is undone all the same.
    session.says("volume_remove data");
    assert_eq!(piped(&deployer, &[], "volume_list().len()").ok().stdout, "0\n");
}

#[test]
fn a_killed_session_can_be_aborted() {
    let deployer = engine();
    kill_after_output(&deployer, &format!("{RUN}41\n"), "41");
    deployer.call(&["abort", "last", "--engine", "local"]).ok();
    assert_eq!(piped(&deployer, &[], NAMES).ok().stdout, "(none)\n");
}
