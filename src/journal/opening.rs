//! Creates, checks and opens the journal's database, and translates SQLite's errors to [`JournalError`]. Knows no
//! entries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::JournalError;
use super::entry::RunStatus;
use super::journal_file::JournalFile;
use super::schema::{MIGRATIONS, migrate, newest, version};

/// How long to wait for another deployer that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Up to this size, in bytes, a journal is checked whole at every start; of a larger one only what this start relies on.
const MAX_FULL_CHECK_SIZE: u64 = 32 << 20;

/// Opens the database of a journal. Creates it if there is none, and migrates it to the newest version.
///
/// # Errors
/// When it cannot be created, is no journal, is damaged, is not writable, or a newer deployer wrote it.
pub(super) fn open(file: &JournalFile) -> Result<Connection, JournalError> {
    if !file.exists()? {
        file.create(|path| create(path).map_err(|error| open_error(file.path(), &error)))?;
    }
    let failed = |error: rusqlite::Error| open_error(file.path(), &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file.path(), flags).map_err(failed)?;
    prepare(&mut connection, file)?;
    Ok(connection)
}

/// Opens a journal that is not writable, read-only. Returns `None` when that could give wrong answers.
pub(super) fn open_immutable(file: &JournalFile) -> Option<Connection> {
    // An immutable database is read without the log beside it.
    if file.log_size() > 0 {
        return None;
    }
    let name = file.path().display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags).ok()?;
    let newest = newest(&MIGRATIONS);
    let current = version(&connection).is_ok_and(|version| version == newest)
        && is_foreign(&connection, newest).is_ok_and(|foreign| !foreign);
    let intact = find_damage(&connection, file.size()).is_ok_and(|damage| damage.is_none());
    (current && intact).then_some(connection)
}

/// Writes an empty journal. Closing the last connection removes the log.
fn create(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    migrate(&mut connection, &MIGRATIONS)?;
    connection.close().map_err(|(_, error)| error)
}

fn prepare(connection: &mut Connection, file: &JournalFile) -> Result<(), JournalError> {
    let path = file.path();
    let failed = |error: rusqlite::Error| open_error(path, &error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let (found, known) = (version(connection).map_err(failed)?, newest(&MIGRATIONS));
    if found > known {
        return Err(JournalError::Newer { path: path.into(), found, known });
    }
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(failed)? {
        let why = format!("`{}` is read-only", path.display());
        return Err(JournalError::Unwritable { path: path.parent().unwrap_or(path).into(), why });
    }
    // A damaged file is found now, before anything is changed, and not in the middle of a deploy.
    if let Some(why) = find_damage(connection, file.size()).map_err(failed)? {
        return Err(JournalError::Damaged { path: path.into(), why });
    }
    if is_foreign(connection, found).map_err(failed)? {
        let why = "it is the database of another program".into();
        return Err(JournalError::Open { path: path.into(), why });
    }
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    migrate(connection, &MIGRATIONS).map_err(failed)
}

/// Returns whether another program made the database.
fn is_foreign(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    let (all, own): (i64, i64) = connection.query_row(
        "SELECT count(*), count(*) FILTER (WHERE name IN ('runs', 'entries', 'sources')) FROM sqlite_schema
         WHERE type = 'table'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(if version == 0 { all > 0 } else { own < 3 })
}

/// Returns the damage of the database, if any. Of a large one, only the list of runs and the entries of those that have
/// not ended are read: what happens next depends on nothing else.
fn find_damage(connection: &Connection, size: u64) -> rusqlite::Result<Option<String>> {
    let check = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, String>(0));
    let report = if size <= MAX_FULL_CHECK_SIZE {
        check("PRAGMA quick_check(1)")?
    } else {
        connection.query_row(
            "SELECT sum(length(body)) FROM entries WHERE run IN (SELECT run FROM runs WHERE status = ?1)",
            [RunStatus::Running.to_string()],
            |row| row.get::<_, Option<i64>>(0),
        )?;
        check("PRAGMA quick_check('runs')")?
    };
    Ok((report != "ok").then_some(report))
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
        Some(ErrorCode::DatabaseCorrupt) => JournalError::Damaged { path: path.into(), why },
        _ => JournalError::Open { path: PathBuf::from(path), why },
    }
}

fn busy() -> JournalError {
    JournalError::Busy { timeout_s: BUSY_TIMEOUT.as_secs() }
}

/// Returns the error of a write to an open journal.
pub(super) fn write_error(path: &Path, error: &rusqlite::Error) -> JournalError {
    match damage(path, error) {
        Some(damaged) => damaged,
        None if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            busy()
        }
        None => JournalError::Write { why: error.to_string() },
    }
}

/// Returns the error of a read from an open journal.
pub(super) fn read_error(path: &Path, error: &rusqlite::Error) -> JournalError {
    damage(path, error).unwrap_or_else(|| JournalError::Read { why: error.to_string() })
}

fn damage(path: &Path, error: &rusqlite::Error) -> Option<JournalError> {
    let damaged = matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
    damaged.then(|| JournalError::Damaged { path: path.into(), why: error.to_string() })
}
