//! Removes old runs from the database. The caller chooses which; runs that are not over always stay.

use rusqlite::{Connection, TransactionBehavior};

use crate::base::run_id::RunId;

/// Deletes the sources of the removed runs that no other run refers to.
const SOURCES: &str = "
    DELETE FROM sources WHERE digest IN (SELECT digest FROM pruned_sources) AND digest NOT IN (
        SELECT json_extract(header, '$.digest') FROM runs
        UNION SELECT json_extract(body, '$.digest') FROM entries WHERE entry = 'source_loaded')";

/// Removes the runs and the sources that only they refer to, and shrinks the file.
pub(super) fn remove(connection: &mut Connection, runs: &[RunId]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS pruned (run TEXT PRIMARY KEY);
         CREATE TEMP TABLE IF NOT EXISTS pruned_sources (digest TEXT);
         DELETE FROM pruned; DELETE FROM pruned_sources;",
    )?;
    for run in runs {
        transaction.execute(
            "INSERT OR IGNORE INTO pruned SELECT run FROM runs
             WHERE run = ?1 AND status NOT IN ('running', 'stuck')",
            [run.as_str()],
        )?;
    }
    transaction.execute_batch(
        "INSERT INTO pruned_sources
            SELECT json_extract(header, '$.digest') FROM runs WHERE run IN (SELECT run FROM pruned)
            UNION SELECT json_extract(body, '$.digest') FROM entries
            WHERE entry = 'source_loaded' AND run IN (SELECT run FROM pruned);
         DELETE FROM entries WHERE run IN (SELECT run FROM pruned);
         DELETE FROM runs WHERE run IN (SELECT run FROM pruned);",
    )?;
    transaction.execute(SOURCES, [])?;
    transaction.commit()?;
    // Another reader or writer may keep the file from shrinking; it shrinks the next time.
    drop(connection.execute_batch("VACUUM"));
    drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::base::run_id::RunId;
    use crate::journal::entry::{Entry, RunEnd, RunHeader, RunStatus};
    use crate::journal::memory_journal::MemoryJournal;
    use crate::journal::sqlite_journal::SqliteJournal;
    use crate::journal::{Durability, Journal};

    fn play(journal: &dyn Journal, number: u8, digest: &str, status: Option<RunStatus>) -> RunId {
        let run = RunId::from_bytes([number; 10]);
        let header: RunHeader = serde_json::from_value(serde_json::json!({
            "script": "s", "digest": digest, "params": {}, "engine": "sim", "address": "", "engine_flags": "",
            "state_flags": "", "version": "0", "host": "h", "pid": 1, "boot_id": "b", "pid_namespace": "",
            "process_start": 1
        }))
        .unwrap();
        let module = Entry::SourceLoaded { name: "m".into(), digest: format!("{digest}-module") };
        for source in [digest.to_owned(), format!("{digest}-module")] {
            journal.keep_source(&source, "text").unwrap();
        }
        let at_ms = i64::from(number);
        journal.append(&run, at_ms, &Entry::RunStarted { header: Box::new(header) }, Durability::Process).unwrap();
        journal.append(&run, at_ms, &module, Durability::Process).unwrap();
        if let Some(status) = status {
            let end = RunEnd {
                status,
                exit_code: status.exit_code(),
                error: None,
                report: None,
                remaining: Vec::new(),
                committed: false,
                value: serde_json::Value::Null,
                facts: Default::default(),
            };
            journal.append(&run, at_ms, &Entry::RunEnded { end: Box::new(end) }, Durability::Process).unwrap();
        }
        run
    }

    #[test]
    fn ended_runs_are_removed_with_the_sources_that_only_they_use() {
        let folder = tempfile::tempdir().unwrap();
        let stores: [Box<dyn Journal>; 2] =
            [Box::new(SqliteJournal::open(folder.path()).unwrap()), Box::new(MemoryJournal::default())];
        for journal in stores {
            let gone = play(journal.as_ref(), 1, "old", Some(RunStatus::Succeeded));
            let same = play(journal.as_ref(), 2, "shared", Some(RunStatus::Failed));
            let all = [
                gone.clone(),
                same,
                play(journal.as_ref(), 3, "stuck", Some(RunStatus::Stuck)),
                play(journal.as_ref(), 4, "open", None),
            ];
            play(journal.as_ref(), 5, "shared", Some(RunStatus::Succeeded));
            journal.remove(&all).unwrap();
            let left: Vec<String> = journal.runs(9).unwrap().into_iter().map(|run| run.header.digest).collect();
            assert_eq!(left, ["shared", "open", "stuck"], "never one that is unfinished or stuck");
            assert!(journal.records(&gone).unwrap().is_empty());
            for (digest, there) in [("old", false), ("old-module", false), ("shared", true), ("stuck-module", true)] {
                assert_eq!(journal.source(digest).unwrap().is_some(), there, "{digest}");
            }
        }
    }
}
