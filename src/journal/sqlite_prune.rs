//! Removing old runs from the database. Which ones, the caller says; those that are not over stay whatever is asked.

use rusqlite::{Connection, TransactionBehavior};

use crate::base::run_id::RunId;

/// What the runs referred to before, less what any run that is left refers to.
const SOURCES: &str = "
    DELETE FROM sources WHERE digest IN (SELECT digest FROM pruned_sources) AND digest NOT IN (
        SELECT json_extract(header, '$.digest') FROM runs
        UNION SELECT json_extract(body, '$.digest') FROM entries WHERE entry = 'source_loaded')";

/// Removes the runs, the sources that only they refer to, and the room that they took in the file.
pub fn remove(connection: &mut Connection, runs: &[RunId]) -> rusqlite::Result<()> {
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
    // Somebody who reads or writes at this moment may keep the file from shrinking: the next time it will.
    drop(connection.execute_batch("VACUUM"));
    drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    Ok(())
}
