//! Journals that are torn, cut, foreign or gone: refused with what is wrong, and nothing of them is lost or changed.

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

use crate::play::{header, play};

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

/// A journal of a hundred pages, closed.
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

/// What is in a folder, so that it can be seen to stay.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // The index of the log is made anew by every reader.
        .filter(|path| path.is_file() && !path.to_str().unwrap().ends_with("-shm"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// Refused for writing and for reading, twice, with the same words, and left as it was.
#[track_caller]
fn refused(folder: &TempDir) -> String {
    let before = contents(folder.path());
    let message = SqliteJournal::open(folder.path()).unwrap_err().to_string();
    assert_eq!(SqliteJournal::open(folder.path()).unwrap_err().to_string(), message);
    assert_eq!(SqliteJournal::open_to_read(folder.path()).unwrap_err().to_string(), message);
    assert!(contents(folder.path()) == before, "{message}: something was changed");
    message.replace(folder.path().to_str().unwrap(), "STATE")
}

#[test]
fn what_is_no_journal() {
    for text in ["this is not a database, it is a note to myself".repeat(50), "x".into()] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), text).unwrap();
        assert_eq!(
            refused(&folder),
            "the journal `STATE/journal.db` cannot be opened: it is no database, or was cut short"
        );
    }
}

#[test]
fn a_folder_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(file(&folder)).unwrap();
    assert_eq!(refused(&folder), "the journal `STATE/journal.db` cannot be opened: it is a folder");
}

#[test]
fn a_link_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/nowhere/journal.db", file(&folder)).unwrap();
    assert_eq!(
        refused(&folder),
        "the journal `STATE/journal.db` cannot be opened: it is a link to a file that is not there"
    );
}

#[test]
fn a_database_of_something_else() {
    for version in [0, 1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let other = Connection::open(file(&folder)).unwrap();
        other.execute_batch(&format!("CREATE TABLE customers (name TEXT); PRAGMA user_version = {version}")).unwrap();
        drop(other);
        assert_eq!(
            refused(&folder),
            "the journal `STATE/journal.db` cannot be opened: it is a database of something else"
        );
    }
}

#[test]
fn an_empty_file() {
    let folder = filled();
    fs::write(file(&folder), "").unwrap();
    assert_eq!(refused(&folder), "the journal `STATE/journal.db` is damaged: it is empty, which a journal never is");
}

/// A journal that nobody closed: its entries are in the log beside it.
fn killed() -> TempDir {
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
fn nobody_closed_it() {
    let folder = killed();
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap().len(), 3);
}

#[test]
fn a_log_without_its_journal() {
    let folder = killed();
    fs::remove_file(file(&folder)).unwrap();
    let size = fs::metadata(folder.path().join("journal.db-wal")).unwrap().len();
    let text = format!("`journal.db-wal` beside it has {size} bytes of its entries");
    assert_eq!(refused(&folder), format!("the journal `STATE/journal.db` is damaged: it is missing, but {text}"));
    fs::write(file(&folder), "").unwrap();
    assert_eq!(refused(&folder), format!("the journal `STATE/journal.db` is damaged: it is empty, but {text}"));
}

#[test]
fn a_journal_with_a_log_of_garbage() {
    let folder = killed();
    fs::write(folder.path().join("journal.db-wal"), "not a log at all".repeat(10)).unwrap();
    assert!(refused(&folder).ends_with("`journal.db-wal` beside it, which has its latest entries, is no log"));
}

#[test]
fn a_journal_without_its_log_is_what_it_was_when_it_was_last_closed() {
    let folder = filled();
    assert!(!folder.path().join("journal.db-wal").exists(), "a closed journal is one file");
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap().len(), 501);
}

#[test]
fn a_log_that_is_torn_at_its_end_gives_all_that_was_whole() {
    let folder = killed();
    let log = folder.path().join("journal.db-wal");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 10]).unwrap();
    let records = SqliteJournal::open(folder.path()).unwrap().records(&run()).unwrap();
    assert_eq!(records.last().unwrap().entry, logged("b"));
}

#[test]
fn cut_anywhere() {
    let whole = fs::read(file(&filled())).unwrap();
    for size in [1, 50, 100, 512, PAGE - 1, PAGE, PAGE + 1, 20 * PAGE, whole.len() / 2, whole.len() - PAGE] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file(&folder), &whole[..size]).unwrap();
        let message = refused(&folder);
        assert!(message.starts_with("the journal `STATE/journal.db` "), "{size}: {message}");
    }
}

#[test]
fn pages_that_are_not_its_own() {
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
fn a_value_that_was_changed_is_found() {
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

/// The journal is broken by `harm` at its fourth entry; no effect may follow.
#[track_caller]
fn broken_in_the_middle(harm: fn(&Path)) -> EffectError {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    fill(&journal);
    harm(folder.path());
    let error = (0..100)
        .find_map(|n| journal.append(&run(), n, &logged("more"), Durability::Power).err())
        .expect("a broken journal takes nothing");
    assert!(matches!(error, JournalError::Damaged { .. }), "{error:?}");
    error.into()
}

#[test]
fn one_that_breaks_in_the_middle_of_a_run_ends_it() {
    let garbage = |folder: &Path| {
        let path = folder.join("journal.db");
        let raw = Connection::open(&path).unwrap();
        raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let pages = fs::metadata(&path).unwrap().len() as usize / PAGE;
        let database = fs::File::options().write(true).open(&path).unwrap();
        database.write_all_at(&vec![0xAB; (pages - 1) * PAGE], PAGE as u64).unwrap();
        // Makes the other connection forget the pages that it knows.
        drop(raw.pragma_update(None, "user_version", 2));
    };
    let removed = |folder: &Path| fs::remove_file(folder.join("journal.db")).unwrap();
    let replaced = |folder: &Path| {
        let path = folder.join("journal.db");
        fs::copy(&path, folder.join("copy")).unwrap();
        fs::rename(folder.join("copy"), path).unwrap();
    };
    for harm in [garbage as fn(&Path), removed, replaced] {
        let error = broken_in_the_middle(harm);
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
fn a_journal_of_version_1_is_read_as_it_was() {
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
fn a_migration_that_is_killed_leaves_the_version_before() {
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
fn a_newer_one_is_left_alone() {
    let folder = filled();
    Connection::open(file(&folder)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(refused(&folder).ends_with("was written by a newer deployer (journal version 99, this one knows 2)"));
}

#[test]
fn nothing_was_done_where_there_is_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let journal = std::sync::Arc::new(SqliteJournal::open(folder.path()).unwrap());
    fs::remove_file(file(&folder)).unwrap();
    let played = play("docker_run(#{name: \"web\", image: \"web:v1\"});").journal(journal).run();
    assert!(played.end.is_err());
    assert_eq!(played.before, played.after);
}
