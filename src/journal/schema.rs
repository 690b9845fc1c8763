//! The tables of the journal on disk, as migrations, one per version. Knows SQL, but not what is in the tables.

use rusqlite::{Connection, TransactionBehavior};

/// Oldest first: migration `n` of the list leads to version `n + 1`, which is stored in `PRAGMA user_version`. Released
/// migrations do not change: add another one at the end.
pub(super) const MIGRATIONS: [&str; 2] = [VERSION_1, VERSION_2];

const VERSION_1: &str = "
    CREATE TABLE runs (
        run TEXT PRIMARY KEY,
        header TEXT NOT NULL,
        started_at_ms INTEGER NOT NULL,
        ended_at_ms INTEGER,
        status TEXT NOT NULL,
        error TEXT
    ) STRICT;
    CREATE INDEX runs_by_start ON runs (started_at_ms);
    CREATE TABLE entries (
        run TEXT NOT NULL,
        n INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        entry TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, n)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sources (
        digest TEXT PRIMARY KEY,
        text TEXT NOT NULL
    ) STRICT;
";

/// Runs are numbered in the order in which they started, whatever the clock says. Large values move out of their
/// entries, and are deleted with the last entry that refers to them.
const VERSION_2: &str = "
    CREATE TABLE numbered_runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT NOT NULL UNIQUE,
        header TEXT NOT NULL,
        started_at_ms INTEGER NOT NULL,
        ended_at_ms INTEGER,
        status TEXT NOT NULL,
        error TEXT
    ) STRICT;
    INSERT INTO numbered_runs (run, header, started_at_ms, ended_at_ms, status, error)
        SELECT run, header, started_at_ms, ended_at_ms, status, error FROM runs ORDER BY rowid;
    DROP TABLE runs;
    ALTER TABLE numbered_runs RENAME TO runs;
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        text TEXT NOT NULL
    ) STRICT;
    CREATE TABLE spilled (
        run TEXT NOT NULL,
        n INTEGER NOT NULL,
        place TEXT NOT NULL,
        form TEXT NOT NULL,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        PRIMARY KEY (run, n, place)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX spilled_by_digest ON spilled (digest);
    CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
        DELETE FROM spilled WHERE run = old.run AND n = old.n;
    END;
    CREATE TRIGGER spilled_removed AFTER DELETE ON spilled BEGIN
        DELETE FROM blobs WHERE digest = old.digest AND NOT EXISTS (SELECT 1 FROM spilled WHERE digest = old.digest);
    END;
";

/// Returns the version that `migrations` lead to.
pub(super) fn newest(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// Returns the version of a database; 0 for an empty one.
///
/// # Errors
/// When it cannot be read.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Migrates a database to the newest version. Each step is one transaction that also sets the version: an interrupted
/// step leaves the version before it intact. Two processes that migrate at once perform each step once.
///
/// # Errors
/// When a step fails; the steps before it stay applied.
pub(super) fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    while version(connection)? < newest(migrations) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&transaction)?;
        if let Some(step) = usize::try_from(found).ok().and_then(|found| migrations.get(found)) {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", found + 1)?;
        }
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_version_1() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, &MIGRATIONS[..1]).unwrap();
        connection.execute("INSERT INTO runs VALUES ('r', '{}', 1, NULL, 'running', NULL)", []).unwrap();
        connection
    }

    #[test]
    fn a_step_that_fails_half_way_leaves_the_version_before() {
        let mut connection = at_version_1();
        let half = "DROP TABLE runs; CREATE TABLE runs (other TEXT); INSERT INTO nowhere VALUES (1);";
        assert!(migrate(&mut connection, &[MIGRATIONS[0], half]).is_err());
        assert_eq!(version(&connection).unwrap(), 1);
        let run: String = connection.query_row("SELECT run FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(run, "r");
        migrate(&mut connection, &MIGRATIONS).unwrap();
        assert_eq!(version(&connection).unwrap(), newest(&MIGRATIONS));
    }

    #[test]
    fn a_value_goes_with_the_last_entry_that_refers_to_it() {
        let mut connection = at_version_1();
        migrate(&mut connection, &MIGRATIONS).unwrap();
        connection
            .execute_batch(
                "INSERT INTO entries VALUES ('r', 1, 0, 'logged', '{}'), ('r', 2, 0, 'logged', '{}');
                 INSERT INTO blobs VALUES ('d', 'text');
                 INSERT INTO spilled VALUES ('r', 1, '/text', 'text', 'd', 4), ('r', 2, '/text', 'text', 'd', 4);",
            )
            .unwrap();
        let left = |connection: &Connection| -> i64 {
            connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap()
        };
        connection.execute("DELETE FROM entries WHERE n = 1", []).unwrap();
        assert_eq!(left(&connection), 1);
        connection.execute("DELETE FROM entries WHERE n = 2", []).unwrap();
        assert_eq!(left(&connection), 0);
    }
}
