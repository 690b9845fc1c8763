//! The journal on disk: with one run, with concurrent runs, and after a crash.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::journal::entry::{Entry, Level, RunStatus};
use deployer::journal::memory_journal::MemoryJournal;
use deployer::journal::sqlite_journal::SqliteJournal;
use deployer::journal::{Durability, Journal, JournalError};
use serde_json::json;

use crate::test_run::{Stop, header, test_run};

fn open(folder: &tempfile::TempDir) -> Arc<SqliteJournal> {
    Arc::new(SqliteJournal::open(folder.path()).unwrap())
}

#[test]
fn a_run_is_the_same_on_disk_and_in_memory() {
    let script =
        "parallel([|| now(), || docker_list()]); let c = docker_run(#{name: \"web\", image: \"web:v1\"}); fail(\"x\");";
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder);
    let on_disk = test_run(script).journal(journal.clone()).run();
    let in_memory = test_run(script).run();
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
fn an_entry_with_a_number_that_another_process_wrote_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journals: [Arc<dyn Journal>; 2] = [open(&folder), Arc::new(MemoryJournal::default())];
    for journal in journals {
        let run = RunId::from_bytes([1; 10]);
        let start = Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) };
        let entry = |text: &str| Entry::Logged { seq: None, level: Level::Info, text: text.into() };
        assert_eq!(journal.append_as(&run, Some(1), 1, &start, Durability::Power).unwrap(), 1);
        assert_eq!(journal.append_as(&run, Some(2), 2, &entry("mine"), Durability::Power).unwrap(), 2);
        for number in [1, 2, 4] {
            let refused = journal.append_as(&run, Some(number), 3, &entry("theirs"), Durability::Power).unwrap_err();
            assert!(matches!(refused, JournalError::Overtaken { .. }), "{number}: {refused}");
        }
        let records = journal.records(&run).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[1].entry, entry("mine"));
    }
}

#[test]
fn many_runs_write_concurrently() {
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
fn a_killed_run_is_rolled_back_through_another_connection() {
    let script = "docker_run(#{name: \"web\", image: \"web:v1\"}); docker_list(); docker_list();";
    let folder = tempfile::tempdir().unwrap();
    let first = open(&folder);
    let mut finished = test_run(script).journal(first.clone()).stop_at(4, Stop::Twice).run();
    assert_eq!(finished.status(), RunStatus::Running);
    // The first connection is never closed.
    finished.journal = open(&folder);
    assert_eq!(finished.journal.runs(1).unwrap()[0].status, RunStatus::Running);
    let end = finished.abort();
    assert_eq!((end.status, finished.world.snapshot()), (RunStatus::Aborted, finished.before.clone()));
    assert_eq!(first.runs(1).unwrap()[0].status, RunStatus::Aborted);
}

#[test]
fn an_entry_that_is_too_large_fails_only_its_effect() {
    let folder = tempfile::tempdir().unwrap();
    let script = "let big = \"\"; big.pad(9000000, '\"');
        try { docker_list(#{labels: #{a: big}}); } catch (e) { log(e.kind); }
        try { log(big); } catch (e) { log(e.kind); }
        docker_list().len()";
    let finished = test_run(script).journal(open(&folder)).run();
    assert_eq!(finished.value(), 0);
    assert_eq!(finished.messages(), ["invalid", "invalid"]);
    let error = JournalError::TooLarge { entry: "logged", size: 2, limit: 1 };
    assert_eq!(error.to_string(), "entry `logged` has 2 bytes; the limit is 1");
}

/// A message larger than an entry, an effect with large arguments, and an outcome with many small parts.
const LARGE: &str = "let big = \"\"; big.pad(100000, 'x'); log(big); log(big);
    docker_list(#{labels: #{a: big}});
    for i in 0..300 { volume_create(`volume-with-a-long-name-so-that-the-list-is-large-${i}`); }
    volume_list().len()";

#[test]
fn large_values_are_stored_once_and_read_back_complete() {
    let folder = tempfile::tempdir().unwrap();
    let finished = test_run(LARGE).journal(open(&folder)).run();
    assert_eq!(finished.value(), 301);
    let (copied, again) = (MemoryJournal::default(), tempfile::tempdir().unwrap());
    let run = RunId::from_bytes([9; 10]);
    let disk = open(&again);
    for record in finished.records() {
        copied.append(&run, record.at_ms, &record.entry, Durability::Process).unwrap();
        disk.append(&run, record.at_ms, &record.entry, Durability::Process).unwrap();
    }
    assert!(
        open(&again).records(&run).unwrap() == copied.records(&run).unwrap(),
        "an entry was not read back as it was written"
    );
    let messages = finished.messages();
    assert!(messages.len() == 2 && messages.iter().all(|text| text.len() == 100_000));
    let raw = rusqlite::Connection::open(folder.path().join("journal.db")).unwrap();
    let number = |sql| raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM blobs WHERE length(text) = 100000"), 1);
    assert_eq!(number("SELECT count(*) FROM spilled JOIN blobs USING (digest) WHERE length(text) = 100000"), 3);
    assert_eq!(number("SELECT count(*) FROM spilled WHERE form = 'json'"), 1);
    assert!(number("SELECT max(length(body)) FROM entries") < 17_000);
}

#[test]
fn the_order_survives_a_clock_that_jumps_back() {
    let folder = tempfile::tempdir().unwrap();
    let journals: [Arc<dyn Journal>; 2] = [open(&folder), Arc::new(MemoryJournal::default())];
    for journal in journals {
        for (number, at_ms) in [(1u8, 9_000), (2, 5_000), (3, 7_000)] {
            let run = RunId::from_bytes([number; 10]);
            let start = Entry::RunStarted { header: Box::new(header(&json!({}), number.to_string())) };
            journal.append(&run, at_ms, &start, Durability::Power).unwrap();
            for (n, at_ms) in [(2, at_ms - 4_000), (3, at_ms + 1), (4, 0)] {
                let entry = Entry::Logged { seq: None, level: Level::Info, text: n.to_string() };
                assert_eq!(journal.append(&run, at_ms, &entry, Durability::Process).unwrap(), n);
            }
            let numbers: Vec<_> = journal.records(&run).unwrap().iter().map(|record| record.n).collect();
            assert_eq!(numbers, [1, 2, 3, 4]);
        }
        let digests: Vec<_> = journal.runs(10).unwrap().into_iter().map(|run| run.header.digest).collect();
        assert_eq!(digests, ["3", "2", "1"]);
    }
}

#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("a/state");
    let journal = SqliteJournal::open(&state).unwrap();
    let start = Entry::RunStarted { header: Box::new(header(&json!({}), "d".into())) };
    journal.append(&RunId::from_bytes([1; 10]), 1, &start, Durability::Power).unwrap();
    assert_eq!(mode(&state), 0o700);
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
    drop(journal);
    // Earlier versions of deployer left this mode.
    std::fs::set_permissions(state.join("journal.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(SqliteJournal::open(&state).unwrap());
    assert_eq!(mode(&state.join("journal.db")), 0o600);
}
