//! Opens SQLite files for reading while an app uses them, and translates SQLite's errors. Knows no request.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::worker::StopSignal;
use crate::effect::sqlite::database_not_found;
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::cancellation::cancelled;

/// How long a statement waits for another process that has the database locked.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes 18 and 19 of a file in WAL mode (SQLite file format, section 1.3).
const WAL_FORMAT: [u8; 2] = [2, 2];

/// Runs `work` on a read-only connection to a database that others may be writing to. `path` has no symbolic links: one
/// that an app puts there in the meantime is not followed.
///
/// A database in WAL mode without a `-wal` file has no open writer. Opening it the usual way would create `-wal` and
/// `-shm` files that a reader cannot remove. So it is read as an immutable file first. If it has changed meanwhile, it is
/// read again the usual way.
pub(super) fn read_database<T>(
    subject: &str,
    path: &Path,
    stop: &StopSignal,
    work: impl Fn(&Connection) -> Result<T, EffectError>,
) -> Result<T, EffectError> {
    let before = metadata(subject, path)?;
    if is_in_wal_mode(path) && !has_wal_file(path) {
        let result = open(subject, path, true, stop).and_then(|connection| work(&connection));
        if !has_wal_file(path) && is_unchanged(&before, path) {
            return result;
        }
    }
    let connection = open(subject, path, false, stop)?;
    work(&connection)
}

fn metadata(subject: &str, path: &Path) -> Result<Metadata, EffectError> {
    match open_file(path).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_file() => Ok(metadata),
        Ok(_) => Err(EffectError::new(ErrorKind::Invalid, format!("`{subject}` is not a file"))),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if has_wal_file(path) => {
                wal_without_database(subject)
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => database_not_found(&subject),
            _ if error.raw_os_error() == Some(nix::libc::ELOOP) => link_refused(subject),
            io::ErrorKind::PermissionDenied => {
                EffectError::new(ErrorKind::Refused, format!("no permission to read `{subject}`"))
                    .hint("run deployer as a user with read permission, such as root")
            }
            _ => EffectError::new(ErrorKind::Failed, format!("cannot read `{subject}`: {error}")),
        }),
    }
}

fn link_refused(subject: &str) -> EffectError {
    EffectError::new(ErrorKind::Refused, format!("`{subject}` is a symbolic link that its app put there just now"))
        .hint("name the file itself")
}

/// Opens a file that an app may exchange at any time: follows no link, and does not wait for a pipe.
fn open_file(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Returns the path with the links of its folder resolved, for [`OpenFlags::SQLITE_OPEN_NOFOLLOW`], which refuses links
/// in all parts of a path.
pub(super) fn with_resolved_folder(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// The error of a database of which only the write-ahead log exists.
pub(super) fn wal_without_database(subject: &str) -> EffectError {
    EffectError::new(
        ErrorKind::DatabaseCorrupt,
        format!("database `{subject}` is missing, but its write-ahead log exists"),
    )
    .hint("find the database file that belongs to the `-wal` file, or restore it from a backup")
}

fn is_in_wal_mode(path: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let mut versions = [0; 2];
    open_file(path).and_then(|file| file.read_exact_at(&mut versions, 18)).is_ok() && versions == WAL_FORMAT
}

pub(super) fn has_wal_file(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name).exists()
}

fn is_unchanged(before: &Metadata, path: &Path) -> bool {
    let stamp = |of: &Metadata| (of.ino(), of.len(), of.mtime(), of.mtime_nsec());
    fs::symlink_metadata(path).is_ok_and(|now| stamp(&now) == stamp(before))
}

fn open(subject: &str, path: &Path, immutable: bool, stop: &StopSignal) -> Result<Connection, EffectError> {
    if stop.is_set() {
        return Err(cancelled());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let opened = match immutable_url(path).filter(|_| immutable) {
        Some(url) => Connection::open_with_flags(url, flags | OpenFlags::SQLITE_OPEN_URI),
        None => Connection::open_with_flags(path, flags),
    };
    let connection = opened.map_err(|error| sqlite_error(subject, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| sqlite_error(subject, &error))?;
    stop.watch(&connection);
    Ok(connection)
}

/// Returns a URI of the file that promises SQLite that the file does not change.
pub(super) fn immutable_url(path: &Path) -> Option<String> {
    let mut url = reqwest::Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
    url.set_query(Some("immutable=1"));
    Some(url.into())
}

/// Turns an error of SQLite into that of an effect.
pub(super) fn sqlite_error(subject: &str, error: &rusqlite::Error) -> EffectError {
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
            new(ErrorKind::DatabaseCorrupt, format!("database `{subject}` is truncated"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            new(ErrorKind::Unavailable, format!("database `{subject}` is locked by another process"))
        }
        Some(ErrorCode::OperationInterrupted) => cancelled(),
        Some(ErrorCode::CannotOpen) if extended == rusqlite::ffi::SQLITE_CANTOPEN_SYMLINK => link_refused(subject),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            new(ErrorKind::Conflict, format!("database `{subject}` cannot be opened read-only: {error}"))
                .hint("a crash may have interrupted a transaction: start its app once to recover the database")
        }
        Some(ErrorCode::DiskFull) => new(ErrorKind::DiskFull, format!("no space left on the disk of `{subject}`")),
        _ => new(ErrorKind::Failed, format!("cannot read database `{subject}`: {error}")),
    }
}
