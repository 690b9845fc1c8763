//! The journal on disk under a run, under many runs at once, and without a farewell.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::journal::entry::{Entry, Level, RunStatus};
use deployer::journal::sqlite_journal::SqliteJournal;
use deployer::journal::{Durability, Journal, JournalError};
use serde_json::json;

use crate::play::{Stop, header, play};

fn open(folder: &tempfile::TempDir) -> Arc<SqliteJournal> {
    Arc::new(SqliteJournal::open(folder.path()).unwrap())
}

#[test]
fn a_run_is_the_same_on_disk_and_in_memory() {
    let script =
        "parallel([|| now(), || docker_list()]); let c = docker_run(#{name: \"web\", image: \"web:v1\"}); fail(\"x\");";
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let on_disk = play(script).journal(journal.clone()).run();
    let in_memory = play(script).run();
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(on_disk.names()), sorted(in_memory.names()));
    let summary = &open(&folder).runs(10).unwrap()[0];
    assert_eq!((summary.status, summary.error.as_deref()), (RunStatus::Failed, Some("x")));
    assert_eq!(journal.source(&summary.header.digest).unwrap().as_deref(), Some(script));
}

#[test]
fn many_runs_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 1..=6u8 {
            let folder = &folder;
            scope.spawn(move || {
                let journal = SqliteJournal::open(folder.path()).unwrap();
                let run = RunId::from_bytes([number; 10]);
                let start = Entry::RunStarted { header: Box::new(header(&json!({}), number.to_string())) };
                journal.append(&run, 1, &start, Durability::Power).unwrap();
                for n in 2..=60 {
                    let entry = Entry::Logged { seq: None, level: Level::Info, text: format!("{number}/{n}") };
                    let durability = if n % 8 == 0 { Durability::Power } else { Durability::Process };
                    assert_eq!(journal.append(&run, n, &entry, durability).unwrap(), n as u64);
                }
            });
        }
    });
    let journal = open(&folder);
    assert_eq!(journal.runs(10).unwrap().len(), 6);
    for number in 1..=6u8 {
        let records = journal.records(&RunId::from_bytes([number; 10])).unwrap();
        assert_eq!(records.len(), 60);
        assert!(records.iter().zip(1..).all(|(record, n)| record.n == n));
    }
}

#[test]
fn a_killed_run_is_taken_back_through_another_connection() {
    let script = "docker_run(#{name: \"web\", image: \"web:v1\"}); docker_list(); docker_list();";
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    let mut played = play(script).journal(first.clone()).stop_at(4, Stop::Twice).run();
    assert_eq!(played.status(), RunStatus::Running);
    // The first one is never closed.
    played.journal = open(&folder);
    assert_eq!(played.journal.runs(1).unwrap()[0].status, RunStatus::Running);
    let end = played.abort();
    assert_eq!((end.status, played.world.snapshot()), (RunStatus::Aborted, played.before.clone()));
    assert_eq!(first.runs(1).unwrap()[0].status, RunStatus::Aborted);
}

#[test]
fn an_entry_that_is_too_large_fails_its_effect_alone() {
    let folder = tempfile::tempdir().unwrap();
    let script = "let big = \"\"; big.pad(9000000, '\"');
        try { docker_list(#{labels: #{a: big}}); } catch (e) { log(e.kind); }
        try { log(big); } catch (e) { log(e.kind); }
        docker_list().len()";
    let played = play(script).journal(open(&folder)).run();
    assert_eq!(played.value(), 0);
    assert_eq!(played.said(), ["invalid", "invalid"]);
    let error = JournalError::TooLarge { entry: "logged", size: 2, limit: 1 };
    assert_eq!(error.to_string(), "entry `logged` has 2 bytes, and the journal takes 1 at the most");
}
