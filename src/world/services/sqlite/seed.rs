//! `sqlite_seed`: inserts the first rows, in one transaction.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::check::{check_foreign_keys, check_integrity, count_rows, is_empty};
use super::connection::{BUSY_TIMEOUT, has_wal_file, sqlite_error, wal_without_database, with_resolved_folder};
use super::context::SqliteContext;
use super::sql_batch::{TransactionControl, execute_batch, read_sql};
use super::usage::{SIBLING_SUFFIXES, sibling};
use super::worker::{StopSignal, run_on_thread};
use crate::effect::sqlite::{SeedSqlite, Seeded};
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::file_error::file_error;
use crate::world::services::partial_file::{PartialFile, parent_folder};

pub(super) async fn seed(context: &SqliteContext, request: &SeedSqlite) -> Result<Seeded, EffectError> {
    let sql = read_sql(request.sql.as_ref(), request.file.as_ref()).await?;
    let location = context.locator.locate(&request.location).await?;
    let path = context.locator.writable_path(&location).await.map_err(EffectError::not_applied)?;
    let subject = request.location.to_string();
    if path.exists() {
        return run_on_thread(move |stop| seed_file(&subject, &path, &sql, stop)).await;
    }
    if has_wal_file(&path) {
        return Err(wal_without_database(&subject).not_applied());
    }
    // A new database gets its name only when it has its rows.
    let partial = PartialFile::for_target(&path)?;
    let (partial, seeded) = run_on_thread(move |stop| {
        let seeded = seed_file(&subject, partial.path(), &sql, stop).map_err(|error| {
            // On a full disk, SQLite cannot roll back and leaves its journal.
            SIBLING_SUFFIXES.iter().for_each(|suffix| drop(std::fs::remove_file(sibling(partial.path(), suffix))));
            error.not_applied()
        })?;
        set_owner(&path, partial.path())?;
        Ok((partial, seeded))
    })
    .await?;
    partial.publish(false).await?;
    Ok(seeded)
}

/// Gives the new file to the owner of its folder, so that the app may write to it.
fn set_owner(path: &Path, partial: &Path) -> Result<(), EffectError> {
    use std::os::unix::fs::PermissionsExt;
    const MODE: u32 = 0o644;
    let done = std::fs::metadata(parent_folder(path)).and_then(|folder| {
        std::fs::set_permissions(partial, std::fs::Permissions::from_mode(MODE))?;
        let file = std::fs::metadata(partial)?;
        if (file.uid(), file.gid()) == (folder.uid(), folder.gid()) {
            return Ok(());
        }
        std::os::unix::fs::chown(partial, Some(folder.uid()), Some(folder.gid()))
    });
    done.map_err(|error| file_error("written", path, &error).not_applied())
}

fn seed_file(subject: &str, path: &Path, sql: &str, stop: &StopSignal) -> Result<Seeded, EffectError> {
    stop.check()?;
    let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(with_resolved_folder(path), flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    stop.watch(&connection);
    connection
        .execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")
        .map_err(|error| failed(error).not_applied())?;
    let seeded = insert_rows(subject, &connection, sql, stop);
    // On an error, closing the connection rolls the transaction back.
    let seeded = seeded.map_err(EffectError::not_applied)?;
    connection.execute_batch(if seeded.seeded { "COMMIT" } else { "ROLLBACK" }).map_err(failed)?;
    check_integrity(subject, &connection, false)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    Ok(seeded)
}

/// Executes the SQL if the database has no rows yet.
fn insert_rows(subject: &str, connection: &Connection, sql: &str, stop: &StopSignal) -> Result<Seeded, EffectError> {
    let count = || count_rows(connection).map_err(|error| sqlite_error(subject, &error));
    let before = count()?;
    if !is_empty(&before) {
        return Ok(Seeded { seeded: false, tables: before });
    }
    execute_batch(subject, connection, sql, TransactionControl::Caller, stop)?;
    check_foreign_keys(subject, connection).map_err(|error| EffectError {
        kind: ErrorKind::Failed,
        hint: None,
        ..error
    })?;
    Ok(Seeded { seeded: true, tables: count()? })
}
