//! Journals that are torn, truncated, foreign or missing: opening one fails with the reason and changes nothing on
//! disk.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use deployer::base::run_id::RunId;
use deployer::effect::{EffectError, ErrorKind};
use deployer::journal::entry::{Entry, Level, RunStatus};
use deployer::journal::sqlite_journal::SqliteJournal;
use deployer::journal::{Durability, Journal, JournalError};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use crate::test_run::{header, test_run};

const VERSION_1: &str = include_str!("fixtures/journal_v1.sql");
const PAGE: usize = 4096;

fn run() -> RunId {
    RunId::from_bytes([7; 10])
}

fn logged(text: &str) -> Entry {
    Entry::Logged { seq: None, level: Level::Info, text: text.into() }
}

fn started() -> Entry {
    Entry::RunStarted { header: Box::new(header(&json!({}), "digest".into())) }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("journal.db")
}

/// A closed journal of about a hundred pages.
fn filled() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fill(&SqliteJournal::open(folder.path()).unwrap());
    folder
}

fn fill(journal: &SqliteJournal) {
    journal.append(&run(), 5, &started(), Durability::Process).unwrap();
    for i in 0..500 {
        journal.append(&run(), 5, &logged(&format!("{i:05}").repeat(160)), Durability::Process).unwrap();
    }
}

/// The contents of a folder, to check that nothing changes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Every reader recreates the index of the log.
        .filter(|path| path.is_file() && !path.to_str().unwrap().ends_with("-shm"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Asserts that opening fails for writing (twice) and for reading with the same message, and leaves the folder
/// unchanged.
#[track_caller]
fn refused(folder: &TempDir) -> String {
    let before = contents(folder.path());
    let message = SqliteJournal::open(folder.path()).unwrap_err().to_string();
    assert_eq!(SqliteJournal::open(folder.path()).unwrap_err().to_string(), message);
    assert_eq!(SqliteJournal::open_to_read(folder.path()).unwrap_err().to_string(), message);
    assert!(contents(folder.path()) == before, "{message}: the folder changed");
    message.replace(folder.path().to_str().unwrap(), "STATE")
}

#[test]
fn a_file_that_is_not_a_journal() {
    for text in ["this is not a database, it is a note to myself".repeat(50), "x".into()] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), text).unwrap();
        assert_eq!(
            refused(&folder),
            "the journal `STATE/journal.db` cannot be opened: it is not a database, or it is truncated"
        );
    }
}

#[test]
fn a_folder_instead_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(file(&folder)).unwrap();
    assert_eq!(refused(&folder), "the journal `STATE/journal.db` cannot be opened: it is a folder");
}

#[test]
fn a_dangling_symlink() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/nowhere/journal.db", file(&folder)).unwrap();
    assert_eq!(
        refused(&folder),
        "the journal `STATE/journal.db` cannot be opened: it is a link to a file that does not exist"
    );
}

#[test]
fn a_database_of_another_program() {
    for version in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let other = Connection::open(file(&folder)).unwrap();
        other.execute_batch(&format!("CREATE TABLE customers (name TEXT); PRAGMA user_version = {version}")).unwrap();
        drop(other);
        assert_eq!(
            refused(&folder),
            "the journal `STATE/journal.db` cannot be opened: it is the database of another program"
        );
    }
}

#[test]
fn an_empty_file() {
    let folder = filled();
    fs::write(file(&folder), "").unwrap();
    assert_eq!(refused(&folder), "the journal `STATE/journal.db` is damaged: the file is empty");
}

/// A journal that was not closed: its entries are in the write-ahead log next to it.
fn unclosed() -> TempDir {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(folder.path()).unwrap();
    for text in ["a", "b", "c"] {
        journal.append(&run(), 5, &logged(text), Durability::Power).unwrap();
    }
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_journal_that_was_not_closed() {
    let folder = unclosed();
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap().len(), 3);
}

#[test]
fn a_log_without_its_journal() {
    let folder = unclosed();
    fs::remove_file(file(&folder)).unwrap();
    let size = fs::metadata(folder.path().join("journal.db-wal")).unwrap().len();
    let text = format!("`journal.db-wal` next to it has {size} bytes of its entries");
    assert_eq!(refused(&folder), format!("the journal `STATE/journal.db` is damaged: it is missing, but {text}"));
    fs::write(file(&folder), "").unwrap();
    assert_eq!(refused(&folder), format!("the journal `STATE/journal.db` is damaged: it is empty, but {text}"));
}

#[test]
fn a_journal_with_a_corrupt_log() {
    let folder = unclosed();
    fs::write(folder.path().join("journal.db-wal"), "not a log at all".repeat(10)).unwrap();
    assert!(refused(&folder).ends_with("`journal.db-wal` next to it, which has its latest entries, is not a log"));
}

#[test]
fn a_closed_journal_is_complete_without_its_log() {
    let folder = filled();
    assert!(!folder.path().join("journal.db-wal").exists(), "a closed journal is one file");
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap().len(), 501);
}

#[test]
fn a_torn_log_keeps_every_complete_entry() {
    let folder = unclosed();
    let log = folder.path().join("journal.db-wal");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 10]).unwrap();
    let records = SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap();
    assert_eq!(records.last().unwrap().entry, logged("b"));
}

#[test]
fn truncated_at_any_size() {
    let whole = fs::read(file(&filled())).unwrap();
    for size in [1, 50, 100, 512, PAGE - 1, PAGE, PAGE + 1, 20 * PAGE, whole.len() / 2, whole.len() - PAGE] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), &whole[..size]).unwrap();
        let message = refused(&folder);
        assert!(message.starts_with("the journal `STATE/journal.db` "), "{size}: {message}");
    }
}

#[test]
fn overwritten_pages() {
    let whole = fs::read(file(&filled())).unwrap();
    let pages = whole.len() / PAGE;
    for (page, from) in [(1, None), (pages / 2, None), (pages - 1, None), (2, Some(pages / 2)), (0, Some(3))] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), &whole).unwrap();
        let bytes = from.map_or(vec![0xAB; PAGE], |from| whole[from * PAGE..(from + 1) * PAGE].to_vec());
        let database = fs::File::options().write(true).open(file(&folder)).unwrap();
        database.write_all_at(&bytes, (page * PAGE) as u64).unwrap();
        let message = refused(&folder);
        assert!(message.starts_with("the journal `STATE/journal.db` "), "{page}: {message}");
    }
}

#[test]
fn a_changed_value_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    journal.append(&run(), 5, &logged(&"x".repeat(20_000)), Durability::Power).unwrap();
    let raw = Connection::open(file(&folder)).unwrap();
    for (sql, expected) in [
        ("UPDATE blobs SET text = 'y'", "entry 1 of run {run}: its value `/text` is not what was written"),
        ("DELETE FROM blobs", "entry 1 of run {run}: its value `/text` is missing"),
    ] {
        raw.execute(sql, []).unwrap();
        let error = journal.records(&run()).unwrap_err().to_string();
        assert!(error.ends_with(&expected.replace("{run}", run().as_str())), "{error}");
    }
}

/// Damages an open journal with `damage`; returns the error of the append that notices it.
#[track_caller]
fn append_error_after(damage: fn(&Path)) -> EffectError {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    fill(&journal);
    damage(folder.path());
    let error = (0..100)
        .find_map(|n| journal.append(&run(), n, &logged("more"), Durability::Power).err())
        .expect("a damaged journal accepts no entry");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    error.into()
}

#[test]
fn damage_during_a_run_ends_the_run() {
    let garbage = |folder: &Path| {
        let path = folder.join("journal.db");
        let raw = Connection::open(&path).unwrap();
        raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let pages = fs::metadata(&path).unwrap().len() as usize / PAGE;
        let database = fs::File::options().write(true).open(&path).unwrap();
        database.write_all_at(&vec![0xAB; (pages - 1) * PAGE], PAGE as u64).unwrap();
        // Invalidates the page cache of the other connection.
        drop(raw.pragma_update(None, "user_version", 2));
    };
    let removed = |folder: &Path| fs::remove_file(folder.join("journal.db")).unwrap();
    let replaced = |folder: &Path| {
        let path = folder.join("journal.db");
        fs::copy(&path, folder.join("copy")).unwrap();
        fs::rename(folder.join("copy"), path).unwrap();
    };
    for damage in [garbage as fn(&Path), removed, replaced] {
        let error = append_error_after(damage);
        assert_eq!(error.kind, ErrorKind::Journal, "{error}");
        assert!(error.hint.unwrap().contains("what this run left behind"), "{}", error.message);
    }
}

fn version_1() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    Connection::open(file(&folder)).unwrap().execute_batch(VERSION_1).unwrap();
    folder
}

#[test]
fn a_version_1_journal_is_read() {
    let folder = version_1();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let runs = journal.runs(10).unwrap();
    let seen: Vec<_> = runs.iter().map(|run| (run.header.script.as_str(), run.status)).collect();
    let expected =
        [("wait.rhai", RunStatus::Running), ("fail.rhai", RunStatus::Failed), ("deploy.rhai", RunStatus::Succeeded)];
    assert_eq!(seen, expected);
    let lengths: Vec<_> = runs.iter().map(|run| journal.records(&run.run).unwrap().len()).collect();
    assert_eq!(lengths, [4, 9, 16]);
    assert!(journal.source(&runs[0].header.digest).unwrap().unwrap().contains("sleep"));
    drop(journal);
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().runs(10).unwrap(), runs);
}

#[test]
fn a_killed_migration_leaves_the_old_version() {
    let folder = version_1();
    let raw = Connection::open(file(&folder)).unwrap();
    raw.execute_batch("PRAGMA journal_mode = wal; BEGIN IMMEDIATE; DROP TABLE runs; PRAGMA user_version = 2").unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    assert_eq!(SqliteJournal::open(copy.path()).unwrap().runs(10).unwrap().len(), 3);
}

#[test]
fn a_newer_journal_is_not_touched() {
    let folder = filled();
    Connection::open(file(&folder)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refused(&folder).ends_with("was written by a newer deployer (journal version 99, this one knows 2)"));
}

#[test]
fn no_effect_is_performed_without_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = std::sync::Arc::new(SqliteJournal::open(folder.path()).unwrap());
    fs::remove_file(file(&folder)).unwrap();
    let finished = test_run("docker_run(#{name: \"web\", image: \"web:v1\"});").journal(journal).run();
    assert!(finished.end.is_err());
    assert_eq!(finished.before, finished.after);
}
