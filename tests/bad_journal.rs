//! The whole program on a journal that cannot be used: exit code 2, what is wrong and what to type, and nothing done.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use support::deployer::Deployer;
use support::snapshot::normal;

const SCRIPT: &str = "volume_create(\"data\");\n";

/// A journal with one run in it, harmed; then every verb that needs it is refused, and nothing is done.
#[track_caller]
fn refused(harm: impl FnOnce(&Path)) -> String {
    let deployer = Deployer::local();
    let first = deployer.file("first.rhai", "log(\"first\");\n");
    deployer.run(&first, &[]).ok();
    harm(deployer.state());
    let script = deployer.file("deploy.rhai", SCRIPT);
    let known = [(deployer.home().to_str().unwrap(), "HOME")];
    let message = normal(&deployer.run(&script, &[]).code(2).stderr, &known);
    for verb in [&["runs"][..], &["show", "last"], &["abort"]] {
        let args: Vec<&str> = verb.iter().copied().chain((verb == ["abort"]).then_some("--engine=local")).collect();
        let said = normal(&deployer.call(&args).code(2).stderr, &known);
        assert_eq!(said, message, "{verb:?}");
    }
    let volumes = deployer.state().join("local/volumes");
    assert!(fs::read_dir(volumes).unwrap().next().is_none(), "nothing was done");
    message
}

#[test]
fn garbage() {
    let message = refused(|state| fs::write(state.join("journal.db"), "x".repeat(9_000)).unwrap());
    assert_snapshot!(message, @r"
    deployer::journal::open

      × the journal `[HOME]/state/journal.db` cannot be opened: it is no database, or was cut short
      help: nothing is deployed without a journal; move the file away to begin a new one, or use `--state DIR`
    ");
}

#[test]
fn an_empty_file() {
    let message = refused(|state| fs::write(state.join("journal.db"), "").unwrap());
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: it is empty, which a journal never is
      help: nothing is deployed without a journal; restore it from a backup, or see what can be saved: `sqlite3 [HOME]/state/journal.db .recover`; to begin a new one, move `[HOME]/state/journal.db*` away, and look for what a killed run left
    ");
}

#[test]
fn a_log_alone() {
    let message = refused(|state| {
        fs::rename(state.join("journal.db"), state.join("journal.db-wal")).unwrap();
    });
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: it is missing, but `journal.db-wal` beside it has 45056 bytes of its entries
      help: nothing is deployed without a journal; restore it from a backup, or see what can be saved: `sqlite3 [HOME]/state/journal.db .recover`; to begin a new one, move `[HOME]/state/journal.db*` away, and look for what a killed run left
    ");
}

#[test]
fn a_torn_file() {
    let message = refused(|state| {
        let path = state.join("journal.db");
        let whole = fs::read(&path).unwrap();
        fs::write(path, &whole[..whole.len() / 2 + 77]).unwrap();
    });
    assert_snapshot!(message, @r"
    deployer::journal::damaged

      × the journal `[HOME]/state/journal.db` is damaged: database disk image is malformed
      help: nothing is deployed without a journal; restore it from a backup, or see what can be saved: `sqlite3 [HOME]/state/journal.db .recover`; to begin a new one, move `[HOME]/state/journal.db*` away, and look for what a killed run left
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
      help: nothing is deployed without a journal; move the file away to begin a new one, or use `--state DIR`
    ");
}

/// Unmounted when dropped.
struct ReadOnly<'a>(&'a Path);

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_read_only_disk_can_be_looked_at_and_nothing_more() {
    let deployer = Deployer::local();
    let first = deployer.file("first.rhai", "log(\"first\");\n");
    deployer.run(&first, &[]).ok();
    let script = deployer.file("deploy.rhai", SCRIPT);
    let state = deployer.state();
    for options in ["bind", "remount,bind,ro"] {
        let mounted = Command::new("mount").args(["-o", options]).arg(state).arg(state).status().unwrap();
        assert!(mounted.success(), "the tests run as root");
    }
    let _mount = ReadOnly(state);
    let finished = deployer.run(&script, &[]).code(2);
    deployer.call(&["runs"]).ok().says("first.rhai");
    deployer.call(&["show", "last"]).ok().says("first");
    let message = normal(&finished.stderr, &[(deployer.home().to_str().unwrap(), "HOME")]);
    assert_snapshot!(message, @r"
    deployer::journal::folder

      × the state folder `[HOME]/state` cannot be written: unable to open database file
      help: nothing is deployed without a journal; make room and give the right to write, or use `--state DIR`
    ");
}
