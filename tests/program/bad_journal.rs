//! The whole program on a journal that cannot be used: exit code 2, what is wrong, the commands to type, and no change.

use crate::support;

use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use support::deployer::Deployer;
use support::snapshot::normalize;

const SCRIPT: &str = "volume_create(\"data\");\n";

/// Creates a journal with one run and damages it. Asserts that every command that needs it is refused and that nothing
/// changes, and returns the message.
#[track_caller]
fn refused(damage: impl FnOnce(&Path)) -> String {
    let deployer = Deployer::local();
    let first = deployer.file("first.rhai", "log(\"first\");\n");
    deployer.run(&first, &[]).ok();
    damage(deployer.state());
    let script = deployer.file("deploy.rhai", SCRIPT);
    let known = [(deployer.home().to_str().unwrap(), "HOME")];
    let message = normalize(&deployer.run(&script, &[]).code(2).stderr, &known);
    for command in [&["runs"][..], &["show", "last"], &["abort"]] {
        let args: Vec<&str> =
            command.iter().copied().chain((command == ["abort"]).then_some("--engine=local")).collect();
        let output = normalize(&deployer.call(&args).code(2).stderr, &known);
        assert_eq!(output, message, "{command:?}");
    }
    let volumes = deployer.state().join("local/volumes");
    assert!(fs::read_dir(volumes).unwrap().next().is_none(), "nothing was changed");
    message
}

#[test]
fn garbage() {
    let message = refused(|state| fs::write(state.join("journal.db"), "x".repeat(9_000)).unwrap());
    assert_snapshot!(message, @r"
    deployer::journal::open

      × the journal `[HOME]/state/journal.db` cannot be opened: it is not a database, or it is truncated
      help: nothing is deployed without a journal; move the file away to start a new one, or use `--state DIR`
    ");
}

#[test]
fn an_empty_file() {
    let message = refused(|state| fs::write(state.join("journal.db"), "").unwrap());
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: the file is empty
      help: nothing is deployed without a journal; restore it from a backup, or recover what you can with `sqlite3 [HOME]/state/journal.db .recover`; to start a new one, move `[HOME]/state/journal.db*` away, and check what an interrupted run left
    ");
}

#[test]
fn a_write_ahead_log_without_its_database() {
    let message = refused(|state| {
        fs::rename(state.join("journal.db"), state.join("journal.db-wal")).unwrap();
    });
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: it is missing, but `journal.db-wal` next to it has 45056 bytes of its entries
      help: nothing is deployed without a journal; restore it from a backup, or recover what you can with `sqlite3 [HOME]/state/journal.db .recover`; to start a new one, move `[HOME]/state/journal.db*` away, and check what an interrupted run left
    ");
}

#[test]
fn a_truncated_file() {
    let message = refused(|state| {
        let path = state.join("journal.db");
        let intact = fs::read(&path).unwrap();
        fs::write(path, &intact[..intact.len() / 2 + 77]).unwrap();
    });
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: database disk image is malformed
      help: nothing is deployed without a journal; restore it from a backup, or recover what you can with `sqlite3 [HOME]/state/journal.db .recover`; to start a new one, move `[HOME]/state/journal.db*` away, and check what an interrupted run left
    ");
}

#[test]
fn a_folder_in_its_place() {
    let message = refused(|state| {
        fs::remove_file(state.join("journal.db")).unwrap();
        fs::create_dir(state.join("journal.db")).unwrap();
    });
    assert_snapshot!(message, @r"
    deployer::journal::open

      × the journal `[HOME]/state/journal.db` cannot be opened: it is a folder
      help: nothing is deployed without a journal; move the file away to start a new one, or use `--state DIR`
    ");
}

/// A read-only mount. It is unmounted on drop.
struct ReadOnly<'a>(&'a Path);

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_journal_on_a_read_only_disk_can_be_read_and_not_written() {
    let deployer = Deployer::local();
    let first = deployer.file("first.rhai", "log(\"first\");\n");
    deployer.run(&first, &[]).ok();
    let script = deployer.file("deploy.rhai", SCRIPT);
    let state = deployer.state();
    for options in ["bind", "remount,bind,ro"] {
        let mounted = Command::new("mount").args(["-o", options]).arg(state).arg(state).status().unwrap();
        assert!(mounted.success(), "cannot mount: run the tests as root");
    }
    let _mount = ReadOnly(state);
    let finished = deployer.run(&script, &[]).code(2);
    deployer.call(&["runs"]).ok().says("first.rhai");
    deployer.call(&["show", "last"]).ok().says("first");
    let message = normalize(&finished.stderr, &[(deployer.home().to_str().unwrap(), "HOME")]);
    assert_snapshot!(message, @r"
    deployer::journal::folder

      × the state folder `[HOME]/state` cannot be written: unable to open database file
      help: nothing is deployed without a journal; free disk space and check the permissions, or use `--state DIR`
    ");
}
