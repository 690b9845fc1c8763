//! The journal on disk: one SQLite database in the state folder, with a write-ahead log. Large values are stored beside
//! their entries.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde_json::Value;

use super::blob_table::{self, StoredValue};
use super::entry::{Entry, Process, Record, RunHeader, RunStatus, RunSummary};
use super::journal_file::{Identity, JournalFile};
use super::opening::{self, read_error, write_error};
use super::spill::{SPILL_THRESHOLD, Spilled, spill};
use super::{Durability, Journal, JournalError};
use crate::base::run_id::RunId;
use crate::journal::sqlite_prune as prune;

/// Size limit of one entry, in bytes. Worlds bound their replies; this is a safeguard.
const ENTRY_LIMIT: usize = 16 << 20;
/// Limit of all large values of one run, in bytes, so that it can be read back. The last entry is always accepted.
const RUN_LIMIT: usize = 256 << 20;

/// The journal in `STATE/journal.db`.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Mutex<Connection>,
    file: JournalFile,
    identity: Option<Identity>,
}

/// An entry as it is written.
struct Body<'a> {
    entry: &'a Entry,
    text: String,
    spilled: Vec<Spilled<'a>>,
}

impl SqliteJournal {
    /// Opens the journal of a state folder. Creates the folder and the tables if they do not exist.
    ///
    /// # Errors
    /// When the folder cannot be used, the file is damaged or no journal, or a newer deployer wrote it.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        let file = JournalFile::in_folder(folder);
        file.create_folder()?;
        let connection = opening::open(&file)?;
        file.restrict_access();
        Ok(Self::new(connection, file))
    }

    /// Opens the journal of a state folder for reading; `None` when there is none. Works on a full or read-only disk.
    ///
    /// # Errors
    /// The same as [`SqliteJournal::open`].
    pub fn open_to_read(folder: &Path) -> Result<Option<Self>, JournalError> {
        let file = JournalFile::in_folder(folder);
        if !folder.is_file() && !file.exists()? {
            return Ok(None);
        }
        match Self::open(folder) {
            Err(refused @ (JournalError::Open { .. } | JournalError::Unwritable { .. })) => {
                opening::open_immutable(&file).map(|connection| Some(Self::new(connection, file))).ok_or(refused)
            }
            opened => opened.map(Some),
        }
    }

    fn new(connection: Connection, file: JournalFile) -> Self {
        let identity = file.identity();
        Self { connection: Mutex::new(connection), file, identity }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that the file was not removed or replaced: SQLite would keep writing to a file that is not found again.
    fn check_identity(&self) -> Result<(), JournalError> {
        if self.file.identity() == self.identity {
            return Ok(());
        }
        let why = "it was removed or replaced while it was in use".into();
        Err(JournalError::Damaged { path: self.file.path().into(), why })
    }

    fn write_error(&self, error: &rusqlite::Error) -> JournalError {
        write_error(self.file.path(), error)
    }

    fn read_error(&self, error: &rusqlite::Error) -> JournalError {
        read_error(self.file.path(), error)
    }

    fn insert(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        body: &Body<'_>,
        durability: Durability,
    ) -> Result<u64, JournalError> {
        let failed = |error: rusqlite::Error| self.write_error(&error);
        let level = match durability {
            Durability::Process => "normal",
            Durability::Power => "full",
        };
        let mut connection = self.lock();
        connection.pragma_update(None, "synchronous", level).map_err(failed)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        body.check_total(blob_total(&transaction, run, body).map_err(failed)?)?;
        let n = body.insert(&transaction, run, at_ms).map_err(failed)?;
        let n = u64::try_from(n).unwrap_or(0);
        if number.is_some_and(|number| number != n) {
            return Err(JournalError::Overtaken { run: run.clone() });
        }
        transaction.commit().map_err(failed)?;
        Ok(n)
    }
}

/// Returns the size of the run's large values, if this entry has any.
fn blob_total(connection: &Connection, run: &RunId, body: &Body<'_>) -> rusqlite::Result<usize> {
    if body.spilled.is_empty() { Ok(0) } else { blob_table::total_size(connection, run) }
}

impl Journal for SqliteJournal {
    fn append_as(
        &self,
        run: &RunId,
        number: Option<u64>,
        at_ms: i64,
        entry: &Entry,
        durability: Durability,
    ) -> Result<u64, JournalError> {
        let invalid = |error: serde_json::Error| JournalError::Write { why: error.to_string() };
        let text = serde_json::to_string(entry).map_err(invalid)?;
        if text.len() > ENTRY_LIMIT {
            return Err(JournalError::TooLarge { entry: entry.name(), size: text.len(), limit: ENTRY_LIMIT });
        }
        self.check_identity()?;
        if text.len() <= SPILL_THRESHOLD {
            return self.insert(run, number, at_ms, &Body { entry, text, spilled: Vec::new() }, durability);
        }
        let whole = serde_json::to_value(entry).map_err(invalid)?;
        let (small, spilled) = spill(&whole);
        self.insert(run, number, at_ms, &Body { entry, text: small.to_string(), spilled }, durability)
    }

    fn keep_source(&self, digest: &str, text: &str) -> Result<(), JournalError> {
        self.check_identity()?;
        self.lock()
            .execute("INSERT OR IGNORE INTO sources (digest, text) VALUES (?1, ?2)", params![digest, text])
            .map(drop)
            .map_err(|error| self.write_error(&error))
    }

    fn source(&self, digest: &str) -> Result<Option<String>, JournalError> {
        self.lock()
            .query_row("SELECT text FROM sources WHERE digest = ?1", [digest], |row| row.get(0))
            .optional()
            .map_err(|error| self.read_error(&error))
    }

    fn records(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        let mut connection = self.lock();
        let mut read = || -> rusqlite::Result<_> {
            // Both queries must see the same state.
            let transaction = connection.transaction()?;
            let rows: Vec<(i64, i64, String)> = transaction
                .prepare_cached("SELECT n, at_ms, body FROM entries WHERE run = ?1 ORDER BY n")?
                .query_map([run.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            Ok((rows, blob_table::load(&transaction, run)?))
        };
        let (rows, mut values) = read().map_err(|error| self.read_error(&error))?;
        rows.into_iter()
            .map(|(n, at_ms, body)| {
                let damaged = |why: String| JournalError::Read { why: format!("entry {n} of run {run}: {why}") };
                let entry = entry(&body, values.remove(&n)).map_err(damaged)?;
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
                     ORDER BY number DESC LIMIT ?1",
                )?
                .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
                })?
                .collect()
        };
        read()
            .map_err(|error| self.read_error(&error))?
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
        self.check_identity()?;
        prune::remove(&mut self.lock(), runs).map_err(|error| self.write_error(&error))
    }
}

/// Returns the entry as it was written.
fn entry(body: &str, values: Option<Vec<StoredValue>>) -> Result<Entry, String> {
    let invalid = |error: serde_json::Error| error.to_string();
    let Some(values) = values else { return serde_json::from_str(body).map_err(invalid) };
    let mut value: Value = serde_json::from_str(body).map_err(invalid)?;
    blob_table::restore(&mut value, values)?;
    serde_json::from_value(value).map_err(invalid)
}

impl Body<'_> {
    /// Checks the limit of the run. `before` is the size of its large values so far, in bytes.
    fn check_total(&self, before: usize) -> Result<(), JournalError> {
        let size = self.spilled.iter().map(|part| part.text.len()).sum::<usize>();
        if before.saturating_add(size) <= RUN_LIMIT || matches!(self.entry, Entry::RunEnded { .. }) {
            return Ok(());
        }
        Err(JournalError::RunTooLarge { entry: self.entry.name(), size, limit: RUN_LIMIT })
    }

    fn insert(&self, connection: &Connection, run: &RunId, at_ms: i64) -> rusqlite::Result<i64> {
        let n: i64 = connection
            .prepare_cached("SELECT coalesce(max(n), 0) + 1 FROM entries WHERE run = ?1")?
            .query_row([run.as_str()], |row| row.get(0))?;
        connection
            .prepare_cached("INSERT INTO entries (run, n, at_ms, entry, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![run.as_str(), n, at_ms, self.entry.name(), self.text])?;
        if !self.spilled.is_empty() {
            blob_table::store(connection, run, n, &self.spilled)?;
        }
        match self.entry {
            Entry::RunStarted { header } => {
                let header = serde_json::to_string(header).unwrap_or_default();
                connection
                    .prepare_cached("INSERT INTO runs (run, header, started_at_ms, status) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![run.as_str(), header, at_ms, RunStatus::Running.to_string()])?;
            }
            Entry::RunEnded { end } => {
                connection
                    .prepare_cached("UPDATE runs SET ended_at_ms = ?2, status = ?3, error = ?4 WHERE run = ?1")?
                    .execute(params![run.as_str(), at_ms, end.status.to_string(), end.error])?;
            }
            Entry::RunReopened { process, .. } => reopen(connection, run, process)?,
            Entry::RunResolved => {
                connection
                    .prepare_cached("UPDATE runs SET status = ?2 WHERE run = ?1")?
                    .execute(params![run.as_str(), RunStatus::Resolved.to_string()])?;
            }
            _ => {}
        }
        Ok(n)
    }
}

/// Updates the process of the run in the list of runs.
fn reopen(connection: &Connection, run: &RunId, process: &Process) -> rusqlite::Result<()> {
    let header: String = connection
        .prepare_cached("SELECT header FROM runs WHERE run = ?1")?
        .query_row([run.as_str()], |row| row.get(0))?;
    // An unreadable header is reported where runs are listed.
    let Ok(mut header) = serde_json::from_str::<RunHeader>(&header) else { return Ok(()) };
    header.process = process.clone();
    let header = serde_json::to_string(&header).unwrap_or_default();
    connection.prepare_cached("UPDATE runs SET header = ?2 WHERE run = ?1")?.execute(params![run.as_str(), header])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::Level;

    #[test]
    fn the_large_values_of_a_run_are_limited() {
        let folder = tempfile::tempdir().unwrap();
        let journal = SqliteJournal::open(folder.path()).unwrap();
        let run = RunId::from_bytes([7; 10]);
        let entry = Entry::Logged { seq: None, level: Level::Info, text: "x".repeat(SPILL_THRESHOLD + 1) };
        journal.append(&run, 1, &entry, Durability::Process).unwrap();
        journal.lock().execute("UPDATE spilled SET size = ?1", [RUN_LIMIT as i64]).unwrap();
        let error = journal.append(&run, 2, &entry, Durability::Process).unwrap_err();
        assert!(error.is_too_large() && matches!(error, JournalError::RunTooLarge { .. }), "{error}");
        let small = Entry::Logged { seq: None, level: Level::Info, text: "y".into() };
        assert_eq!(journal.append(&run, 3, &small, Durability::Process).unwrap(), 2);
    }

    #[test]
    fn eight_first_starts_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| SqliteJournal::open(folder.path()).unwrap());
            }
        });
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("journal.db")), "{left:?}");
    }
}
