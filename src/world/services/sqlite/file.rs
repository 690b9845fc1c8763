//! Opens a SQLite file for reading beside its app, and says what is wrong with it. Knows no request.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::wait::cancelled;
use super::thread::Stop;
use crate::effect::{EffectError, ErrorKind};

/// How long a statement waits for a writer that holds the database.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes 18 and 19 of the file are 2 when it is in WAL mode (file format, section 1.3).
const WAL_FORMAT: [u8; 2] = [2, 2];

/// Runs reading work on a database that others may be writing to.
///
/// A database in WAL mode without a `-wal` file has no open writer. Opening it the ordinary way would create `-wal` and
/// `-shm` beside it, and a reader cannot remove them again; so it is read as a file that does not change, and once more
/// in the ordinary way if it did.
pub(super) fn reading<T>(
    subject: &str,
    path: &Path,
    stop: &Stop,
    work: impl Fn(&Connection) -> Result<T, EffectError>,
) -> Result<T, EffectError> {
    let before = metadata(subject, path)?;
    // SQLite keeps `-wal` beside the file that a link points to.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real.as_path();
    if is_wal(path) && !has_wal_file(path) {
        let done = open(subject, path, true, stop).and_then(|connection| work(&connection));
        if !has_wal_file(path) && is_unchanged(&before, path) {
            return done;
        }
    }
    let connection = open(subject, path, false, stop)?;
    work(&connection)
}

fn metadata(subject: &str, path: &Path) -> Result<Metadata, EffectError> {
    let metadata = fs::metadata(path).and_then(|metadata| fs::File::open(path).map(|_| metadata));
    match metadata {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(_) => Err(EffectError::new(ErrorKind::Invalid, format!("`{subject}` is not a file"))),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if has_wal_file(path) => wal_alone(subject),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                EffectError::new(ErrorKind::NotFound, format!("there is no database `{subject}`"))
            }
            io::ErrorKind::PermissionDenied => {
                EffectError::new(ErrorKind::Refused, format!("`{subject}` may not be read"))
                    .hint("run deployer as a user who may read the file, such as root")
            }
            _ => EffectError::new(ErrorKind::Failed, format!("`{subject}` cannot be read: {error}")),
        }),
    }
}

/// The error for a database of which only the log is there.
pub(super) fn wal_alone(subject: &str) -> EffectError {
    EffectError::new(
        ErrorKind::DatabaseCorrupt,
        format!("database `{subject}` is missing, but its write-ahead log is there"),
    )
    .hint("find the database file that belongs to the `-wal` file, or restore it from a backup")
}

fn is_wal(path: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let mut versions = [0; 2];
    fs::File::open(path).and_then(|file| file.read_exact_at(&mut versions, 18)).is_ok() && versions == WAL_FORMAT
}

pub(super) fn has_wal_file(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name).exists()
}

fn is_unchanged(before: &Metadata, path: &Path) -> bool {
    let stamp = |of: &Metadata| (of.ino(), of.len(), of.mtime(), of.mtime_nsec());
    fs::metadata(path).is_ok_and(|now| stamp(&now) == stamp(before))
}

fn open(subject: &str, path: &Path, is_still: bool, stop: &Stop) -> Result<Connection, EffectError> {
    if stop.is_asked() {
        return Err(cancelled());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = match still_address(path).filter(|_| is_still) {
        Some(address) => Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_URI),
        None => Connection::open_with_flags(path, flags),
    };
    let connection = opened.map_err(|error| wrong(subject, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| wrong(subject, &error))?;
    stop.watches(&connection);
    Ok(connection)
}

/// The file as a URI that promises SQLite that nobody changes it.
pub(super) fn still_address(path: &Path) -> Option<String> {
    let mut address = reqwest::Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
    address.set_query(Some("immutable=1"));
    Some(address.into())
}

/// What an error of SQLite means for people.
pub(super) fn wrong(subject: &str, error: &rusqlite::Error) -> EffectError {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let new = |kind, message: String| EffectError::new(kind, message);
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => new(
            ErrorKind::DatabaseCorrupt,
            format!("`{subject}` is not a SQLite database, or its first page is damaged or encrypted"),
        ),
        Some(ErrorCode::DatabaseCorrupt) => {
            new(ErrorKind::DatabaseCorrupt, format!("database `{subject}` is damaged")).detail(error.to_string())
        }
        Some(ErrorCode::SystemIoFailure) if extended == rusqlite::ffi::SQLITE_IOERR_SHORT_READ => {
            new(ErrorKind::DatabaseCorrupt, format!("database `{subject}` is cut short"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            new(ErrorKind::Unavailable, format!("database `{subject}` is locked by another process"))
        }
        Some(ErrorCode::OperationInterrupted) => cancelled(),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            new(ErrorKind::Conflict, format!("database `{subject}` cannot be opened by a reader: {error}")).hint(
                "a crash may have left it in the middle of a transaction: its app must open it once to recover it",
            )
        }
        Some(ErrorCode::DiskFull) => new(ErrorKind::DiskFull, format!("no room for `{subject}` on its disk")),
        _ => new(ErrorKind::Failed, format!("database `{subject}` cannot be read: {error}")),
    }
}
