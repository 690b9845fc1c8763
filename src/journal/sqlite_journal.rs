//! The journal on disk: one SQLite database in the state folder, write-ahead log, safe against power cuts where asked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::entry::{Entry, Record, RunStatus, RunSummary};
use super::{Durability, Journal, JournalError};
use crate::base::run_id::RunId;
use crate::journal::sqlite_prune as prune;

/// Name of the database in the state folder.
pub const FILE_NAME: &str = "journal.db";
/// Version of the tables; kept in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// How long to wait for another deployer that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// An entry larger than this is refused: replies are bounded where they are made.
const ENTRY_LIMIT: usize = 16 << 20;

/// One step a version: the tables as they came to be.
const MIGRATIONS: [&str; 1] = ["
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
"];

/// The journal in `STATE/journal.db`.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Mutex<Connection>,
}

impl SqliteJournal {
    /// Opens the journal of a state folder; makes the folder and the tables when they are not there.
    ///
    /// # Errors
    /// When the folder cannot be used, the file is no journal or damaged, or a newer deployer wrote it.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let unusable = |why: String| JournalError::Folder { path: folder.into(), why };
        if folder.is_file() {
            return Err(unusable("it is a file".into()));
        }
        std::fs::create_dir_all(folder).map_err(|error| unusable(error.to_string()))?;
        let path = folder.join(FILE_NAME);
        let connection = Connection::open(&path).map_err(|error| open_error(&path, &error))?;
        prepare(&connection, &path)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Opens the journal of a state folder for looking at it; none when there is none. Also where nothing can be
    /// written: on a disk that is full or read-only.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
    pub fn open_to_read(folder: &Path) -> Result<Option<Self>, JournalError> {
        let path = folder.join(FILE_NAME);
        if !folder.is_file() && !path.exists() {
            return Ok(None);
        }
        let refused = match Self::open(folder) {
            Err(error @ (JournalError::Open { .. } | JournalError::Unwritable { .. })) => error,
            opened => return opened.map(Some),
        };
        // What is in the log beside it would be left out.
        let has_log = std::fs::metadata(folder.join(format!("{FILE_NAME}-wal"))).is_ok_and(|log| log.len() > 0);
        let name = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        match Connection::open_with_flags(format!("file:{name}?immutable=1"), flags) {
            Ok(connection) if !has_log && is_sound(&connection) => {
                Ok(Some(Self { connection: Mutex::new(connection) }))
            }
            _ => Err(refused),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_error(path: &Path, error: &rusqlite::Error) -> JournalError {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => busy(),
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure,
        ) => JournalError::Unwritable { path: path.parent().unwrap_or(path).into(), why },
        _ => JournalError::Open { path: PathBuf::from(path), why },
    }
}

fn busy() -> JournalError {
    JournalError::Busy { patience_s: BUSY_TIMEOUT.as_secs() }
}

fn is_sound(connection: &Connection) -> bool {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    let verdict = connection.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
    version.is_ok_and(|version| version == VERSION) && verdict.is_ok_and(|verdict| verdict == "ok")
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > VERSION {
        return Err(JournalError::Newer { path: path.into(), found, known: VERSION });
    }
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    if found < VERSION {
        migrate(connection, found).map_err(failed)?;
    }
    // A damaged file is found now, before anything is done, and not in the middle of a deploy.
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(JournalError::Open { path: path.into(), why: format!("it is damaged: {verdict}") });
    }
    Ok(())
}

/// In one transaction, so that two first starts at once do not meet half-made tables.
fn migrate(connection: &Connection, found: i64) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let now: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in MIGRATIONS.iter().skip(usize::try_from(now.max(found)).unwrap_or(0)) {
        if let Err(error) = connection.execute_batch(step) {
            connection.execute_batch("ROLLBACK")?;
            return Err(error);
        }
    }
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute_batch("COMMIT")
}

fn write_error(error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => busy(),
        _ => JournalError::Write { why: error.to_string() },
    }
}

fn read_error(error: &rusqlite::Error) -> JournalError {
    JournalError::Read { why: error.to_string() }
}

impl Journal for SqliteJournal {
    fn append(&self, run: &RunId, at_ms: i64, entry: &Entry, durability: Durability) -> Result<u64, JournalError> {
        let body = serde_json::to_string(entry).map_err(|error| JournalError::Write { why: error.to_string() })?;
        if body.len() > ENTRY_LIMIT {
            return Err(JournalError::TooLarge { entry: entry.name(), size: body.len(), limit: ENTRY_LIMIT });
        }
        let mut connection = self.lock();
        let level = match durability {
            Durability::Process => "normal",
            Durability::Power => "full",
        };
        connection.pragma_update(None, "synchronous", level).map_err(|error| write_error(&error))?;
        let write = |connection: &mut Connection| -> rusqlite::Result<i64> {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let n: i64 = transaction
                .prepare_cached("SELECT coalesce(max(n), 0) + 1 FROM entries WHERE run = ?1")?
                .query_row([run.as_str()], |row| row.get(0))?;
            transaction
                .prepare_cached("INSERT INTO entries (run, n, at_ms, entry, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![run.as_str(), n, at_ms, entry.name(), body])?;
            match entry {
                Entry::RunStarted { header } => {
                    let header = serde_json::to_string(header).unwrap_or_default();
                    let mut insert = transaction.prepare_cached(
                        "INSERT INTO runs (run, header, started_at_ms, status) VALUES (?1, ?2, ?3, ?4)",
                    )?;
                    insert.execute(params![run.as_str(), header, at_ms, RunStatus::Running.to_string()])?;
                }
                Entry::RunEnded { end } => {
                    let mut update = transaction
                        .prepare_cached("UPDATE runs SET ended_at_ms = ?2, status = ?3, error = ?4 WHERE run = ?1")?;
                    update.execute(params![run.as_str(), at_ms, end.status.to_string(), end.error])?;
                }
                _ => {}
            }
            transaction.commit()?;
            Ok(n)
        };
        let n = write(&mut connection).map_err(|error| write_error(&error))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError> {
        self.lock()
            .execute("INSERT OR IGNORE INTO sources (digest, text) VALUES (?1, ?2)", params![digest, text])
            .map(drop)
            .map_err(|error| write_error(&error))
    }

    fn source(&self, digest: &str) -> Result<Option<String>, JournalError> {
        self.lock()
            .query_row("SELECT text FROM sources WHERE digest = ?1", [digest], |row| row.get(0))
            .optional()
            .map_err(|error| read_error(&error))
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<(i64, i64, String)>> {
            connection
                .prepare_cached("SELECT n, at_ms, body FROM entries WHERE run = ?1 ORDER BY n")?
                .query_map([run.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        };
        read()
            .map_err(|error| read_error(&error))?
            .into_iter()
            .map(|(n, at_ms, body)| {
                let entry = serde_json::from_str(&body)
                    .map_err(|error| JournalError::Read { why: format!("entry {n} of run {run}: {error}") })?;
                Ok(Record { run: run.clone(), n: u64::try_from(n).unwrap_or(0), at_ms, entry })
            })
            .collect()
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, JournalError> {
        type Row = (String, String, i64, Option<i64>, String, Option<String>);
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<Row>> {
            connection
                .prepare_cached(
                    "SELECT run, header, started_at_ms, ended_at_ms, status, error FROM runs
                     ORDER BY started_at_ms DESC, rowid DESC LIMIT ?1",
                )?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
                })?
                .collect()
        };
        read()
            .map_err(|error| read_error(&error))?
            .into_iter()
            .map(|(run, header, started_at_ms, ended_at_ms, status, error)| {
                let damaged = |why: String| JournalError::Read { why: format!("run {run}: {why}") };
                Ok(RunSummary {
                    run: run.parse().map_err(damaged)?,
                    header: serde_json::from_str(&header).map_err(|error| damaged(error.to_string()))?,
                    started_at_ms,
                    ended_at_ms,
                    status: serde_json::from_value(status.into()).map_err(|error| damaged(error.to_string()))?,
                    error,
                })
            })
            .collect()
    }

    fn remove(&self, runs: &[RunId]) -> Result<(), JournalError> {
        prune::remove(&mut self.lock(), runs).map_err(|error| write_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::Level;

    fn run() -> RunId {
        RunId::from_bytes([7; 10])
    }

    fn logged(text: &str) -> Entry {
        Entry::Logged { level: Level::Info, text: text.into() }
    }

    #[test]
    fn entries_come_back_in_order_from_another_connection() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(folder.path()).unwrap();
        for (i, durability) in [Durability::Power, Durability::Process].into_iter().enumerate() {
            assert_eq!(journal.append(&run(), 5, &logged(&i.to_string()), durability).unwrap(), i as u64 + 1);
        }
        let other = SqliteJournal::open(folder.path()).unwrap();
        let texts: Vec<Entry> = other.records(&run()).unwrap().into_iter().map(|record| record.entry).collect();
        assert_eq!(texts, [logged("0"), logged("1")]);
    }

    #[test]
    fn a_newer_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(SqliteJournal::open(folder.path()).unwrap());
        let raw = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        raw.pragma_update(None, "user_version", VERSION + 1).unwrap();
        let error = SqliteJournal::open(folder.path()).unwrap_err();
        assert!(matches!(error, JournalError::Newer { .. }), "{error}");
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "this is not a database, it is a note to myself".repeat(50))
            .unwrap();
        assert!(matches!(SqliteJournal::open(folder.path()).unwrap_err(), JournalError::Open { .. }));
    }

    #[test]
    fn a_damaged_journal_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(folder.path()).unwrap();
        for i in 0..500 {
            journal.append(&run(), 5, &logged(&"x".repeat(100 + i)), Durability::Process).unwrap();
        }
        drop(journal);
        let path = folder.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0xAB);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(SqliteJournal::open(folder.path()).unwrap_err(), JournalError::Open { .. }));
    }

    #[test]
    fn eight_first_starts_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| SqliteJournal::open(folder.path()).unwrap());
            }
        });
    }
}
