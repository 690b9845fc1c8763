//! `sqlite_restore`: replaces a database that is not in use by a copy. The replaced database is never deleted: it is kept
//! beside the new one under another name, and the undo puts it back.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::backup::check_unused_file;
use super::connection::with_resolved_folder;
use super::context::SqliteContext;
use super::usage::{SIBLING_SUFFIXES, file_id, refuse_if_used, sibling};
use super::worker::run_on_thread;
use crate::base::object_url::ObjectUrl;
use crate::effect::sqlite::{RestoreSqlite, Restored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::file_error::file_error;
use crate::world::services::partial_file::{PartialFile, parent_folder, sync_folder};

/// Permissions of a database that replaces none.
const DEFAULT_MODE: u32 = 0o644;

pub(super) async fn restore(
    context: &SqliteContext,
    call: &Call,
    request: &RestoreSqlite,
) -> Result<Restored, EffectError> {
    let location = context.locator.locate(&request.location).await?;
    let path = context.locator.writable_path(&location).await.map_err(EffectError::not_applied)?;
    refuse_if_used(context, &request.location, &location).await?;
    let subject = request.location.to_string();
    if let Some(id) = request.put_back.clone() {
        return run_on_thread(move |_| put_back(&subject, &path, &id)).await;
    }
    let from = request.required_source()?;
    refuse_uncommitted(from)?;
    let storage = context.storage.storage(call, from, &request.s3)?;
    let mut partial = PartialFile::for_target(&path)?;
    let fetched = storage.fetch(call, from, &mut partial).await.map_err(EffectError::not_applied)?;
    if fetched.size == 0 {
        let message = format!("`{from}` is empty, so it is not a copy of a database");
        return Err(EffectError::new(ErrorKind::DatabaseCorrupt, message).not_applied());
    }
    let copy = from.to_string();
    let (partial, tables, kept) = run_on_thread(move |stop| {
        let tables = check_unused_file(&copy, partial.path(), false, stop).map_err(EffectError::not_applied)?;
        let failed = |error: io::Error| file_error("written", &path, &error);
        copy_owner_and_mode(&path, partial.path()).map_err(|error| failed(error).not_applied())?;
        checkpoint(&subject, &path)?;
        let kept = keep_database(&path, "replaced").map_err(failed)?;
        Ok((partial, tables, kept))
    })
    .await?;
    partial.publish(true).await.map_err(|error| EffectError { applied: crate::effect::Applied::Unknown, ..error })?;
    Ok(Restored { kept: kept.map(|kept| kept.display().to_string()), tables, size: fetched.size })
}

/// Fails if the file has changes in a log beside it: they would be missing in the restored database.
fn refuse_uncommitted(from: &ObjectUrl) -> Result<(), EffectError> {
    let ObjectUrl::File { path } = from else { return Ok(()) };
    let has = |suffix: &&str| fs::metadata(sibling(Path::new(path), suffix)).is_ok_and(|found| found.len() > 0);
    let Some(suffix) = ["-wal", "-journal"].iter().find(|suffix| has(suffix)) else { return Ok(()) };
    let message = format!("`{from}` is a database in use, not a copy: its `{suffix}` file contains changes");
    Err(EffectError::new(ErrorKind::Conflict, message).hint("make a copy first: `sqlite_backup`").not_applied())
}

/// Sets owner and permissions to those of the replaced file. Without one, the owner is that of the folder.
fn copy_owner_and_mode(path: &Path, partial: &Path) -> io::Result<()> {
    let (model, mode) = match fs::metadata(path) {
        Ok(found) => (found.clone(), found.mode()),
        Err(_) => (fs::metadata(path.parent().unwrap_or(Path::new("/")))?, DEFAULT_MODE),
    };
    fs::set_permissions(partial, Permissions::from_mode(mode & 0o7777))?;
    let file = fs::metadata(partial)?;
    if (file.uid(), file.gid()) != (model.uid(), model.gid()) {
        std::os::unix::fs::chown(partial, Some(model.uid()), Some(model.gid()))?;
    }
    Ok(())
}

/// Moves the changes in the write-ahead log into the database, if possible. Fails if the database is locked.
fn checkpoint(subject: &str, path: &Path) -> Result<(), EffectError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let result = Connection::open_with_flags(with_resolved_folder(path), flags).and_then(|connection| {
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    });
    match result.map_err(|error| error.sqlite_error_code()) {
        Err(Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            Err(EffectError::new(ErrorKind::Conflict, format!("database `{subject}` is locked by another process"))
                .hint("see which processes have it open: `sqlite_writers`")
                .not_applied())
        }
        // A restore also replaces a damaged or missing database.
        _ => Ok(()),
    }
}

/// Links the database to a second name, and moves its siblings there: the new database must not find the log of another
/// one beside it. Returns `None` if there is no database.
fn keep_database(path: &Path, tag: &str) -> io::Result<Option<PathBuf>> {
    let Some(id) = file_id(path) else {
        // A log without its database has no id under which it could be found.
        move_siblings(path, &sibling(path, &format!(".{tag}-orphan")))?;
        return Ok(None);
    };
    let kept = sibling(path, &format!(".{tag}-{id}"));
    if !kept.exists() {
        fs::hard_link(path, &kept)?;
    }
    move_siblings(path, &kept)?;
    Ok(Some(kept))
}

fn move_siblings(from: &Path, to: &Path) -> io::Result<()> {
    for suffix in SIBLING_SUFFIXES {
        match fs::rename(sibling(from, suffix), sibling(to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the database with this id back. An empty id means that there was no database. The current one is kept, too.
fn put_back(subject: &str, path: &Path, id: &str) -> Result<Restored, EffectError> {
    let failed = |error: io::Error| file_error("written", path, &error);
    let now = file_id(path);
    let restored = |kept: Option<PathBuf>| Restored {
        kept: kept.map(|kept| kept.display().to_string()),
        tables: std::collections::BTreeMap::new(),
        size: fs::metadata(path).map_or(0, |found| found.len()),
    };
    if id.is_empty() {
        if now.is_none() {
            return Ok(restored(None));
        }
        checkpoint(subject, path)?;
        let kept = keep_database(path, "undone").map_err(failed)?;
        fs::remove_file(path).map_err(failed)?;
        return Ok(restored(kept));
    }
    let replaced = sibling(path, &format!(".replaced-{id}"));
    let is_back = now.as_deref() == Some(id);
    if is_back {
        // It was never replaced, or it is back already.
        if replaced.exists() {
            fs::remove_file(&replaced).map_err(failed)?;
        }
        move_siblings(&replaced, path).map_err(failed)?;
        return Ok(restored(None));
    }
    if !replaced.exists() {
        let message = format!("the database that `{subject}` replaced is no longer at `{}`", replaced.display());
        return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
    }
    checkpoint(subject, path)?;
    let kept = keep_database(path, "undone").map_err(failed)?;
    fs::rename(&replaced, path).map_err(failed)?;
    move_siblings(&replaced, path).map_err(failed)?;
    sync_folder(parent_folder(path)).map_err(failed)?;
    Ok(restored(kept))
}
