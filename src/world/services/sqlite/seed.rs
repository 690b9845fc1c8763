//! `sqlite_seed`: the first rows, in one transaction.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::super::Services;
use super::super::storage::{Draft, file_wrong};
use super::check::{no_orphans, sound, tables};
use super::file::{BUSY_TIMEOUT, has_wal_file, wrong};
use super::schema::is_empty;
use super::statements::{Transaction, run, text_of};
use super::thread::{Stop, on_thread};
use super::users::{SIBLINGS, sibling};
use crate::effect::sqlite::{SeedSqlite, Seeded};
use crate::effect::{EffectError, ErrorKind};

impl Services {
    pub(super) async fn seed(&self, request: &SeedSqlite) -> Result<Seeded, EffectError> {
        let sql = text_of(request.sql.as_ref(), request.file.as_ref()).await?;
        let located = self.locate(&request.place).await?;
        let path = self.reach_to_write(&located).await.map_err(EffectError::not_applied)?;
        let subject = request.place.to_string();
        if path.exists() {
            return on_thread(move |stop| seed(&subject, &path, &sql, stop)).await;
        }
        if has_wal_file(&path) {
            let message = format!("database `{subject}` is missing, but its write-ahead log is there");
            return Err(EffectError::new(ErrorKind::DatabaseCorrupt, message).not_applied());
        }
        // A new one has its name only when its rows are in it.
        let draft = Draft::beside(&path)?;
        let (draft, seeded) = on_thread(move |stop| {
            let seeded = seed(&subject, draft.path(), &sql, stop).map_err(|error| {
                // On a disk that is full SQLite cannot roll back, and leaves its journal.
                SIBLINGS.iter().for_each(|suffix| drop(std::fs::remove_file(sibling(draft.path(), suffix))));
                error.not_applied()
            })?;
            belong(&path, draft.path())?;
            Ok((draft, seeded))
        })
        .await?;
        draft.publish(false).await?;
        Ok(seeded)
    }
}

/// The owner of the folder, so that the app may write to it.
fn belong(path: &Path, draft: &Path) -> Result<(), EffectError> {
    use std::os::unix::fs::PermissionsExt;
    const MODE: u32 = 0o644;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let done = std::fs::metadata(folder).and_then(|folder| {
        std::fs::set_permissions(draft, std::fs::Permissions::from_mode(MODE))?;
        let own = std::fs::metadata(draft)?;
        if (own.uid(), own.gid()) == (folder.uid(), folder.gid()) {
            return Ok(());
        }
        std::os::unix::fs::chown(draft, Some(folder.uid()), Some(folder.gid()))
    });
    done.map_err(|error| file_wrong("written", path, &error).not_applied())
}

fn seed(subject: &str, path: &Path, sql: &str, stop: &Stop) -> Result<Seeded, EffectError> {
    stop.check()?;
    let failed = |error: rusqlite::Error| wrong(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    stop.watches(&connection);
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")
        .map_err(|error| failed(error).not_applied())?;
    let seeded = fill(subject, &connection, sql, stop);
    // What is left of the transaction ends with the connection.
    let seeded = seeded.map_err(EffectError::not_applied)?;
    connection.execute_batch(if seeded.seeded { "COMMIT" } else { "ROLLBACK" }).map_err(failed)?;
    sound(subject, &connection, false)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    Ok(seeded)
}

fn fill(subject: &str, connection: &Connection, sql: &str, stop: &Stop) -> Result<Seeded, EffectError> {
    let count = || tables(connection).map_err(|error| wrong(subject, &error));
    let before = count()?;
    if !is_empty(&before) {
        return Ok(Seeded { seeded: false, tables: before });
    }
    run(subject, connection, sql, Transaction::Callers, stop)?;
    no_orphans(subject, connection).map_err(|error| EffectError { kind: ErrorKind::Failed, hint: None, ..error })?;
    Ok(Seeded { seeded: true, tables: count()? })
}
