//! `sqlite_restore`: a copy takes the place of a database that nobody uses. What was there is never deleted: it stays
//! beside it under another name, and the undo puts it back.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::Services;
use super::super::storage::{Draft, file_wrong};
use super::backup::inspect;
use super::thread::on_thread;
use super::users::{SIBLINGS, file_id, sibling};
use crate::base::object_url::ObjectUrl;
use crate::effect::sqlite::{RestoreSqlite, Restored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Of a database that had no predecessor to take it from.
const USUAL_MODE: u32 = 0o644;

impl Services {
    pub(super) async fn restore(&self, call: &Call, request: &RestoreSqlite) -> Result<Restored, EffectError> {
        let located = self.locate(&request.place).await?;
        let path = self.reach_to_write(&located).await.map_err(EffectError::not_applied)?;
        self.refuse_used(&request.place, &located).await?;
        let subject = request.place.to_string();
        if let Some(id) = request.put_back.clone() {
            return on_thread(move |_| put_back(&subject, &path, &id)).await;
        }
        let Some(from) = &request.from else {
            return Err(EffectError::new(ErrorKind::Invalid, "`from` is missing: the copy to restore").not_applied());
        };
        refuse_open(from)?;
        let storage = self.storage(call, from, &request.s3)?;
        let mut draft = Draft::beside(&path)?;
        let fetched = storage.fetch(call, from, &mut draft).await.map_err(EffectError::not_applied)?;
        if fetched.size == 0 {
            let message = format!("`{from}` has no bytes: it is no copy of a database");
            return Err(EffectError::new(ErrorKind::DatabaseCorrupt, message).not_applied());
        }
        let copy = from.to_string();
        let (draft, tables, kept) = on_thread(move |stop| {
            let tables = inspect(&copy, draft.path(), false, stop).map_err(EffectError::not_applied)?;
            let wrong = |error: io::Error| file_wrong("written", &path, &error);
            look_like(&path, draft.path()).map_err(|error| wrong(error).not_applied())?;
            settle(&subject, &path)?;
            let kept = keep(&path, "replaced").map_err(wrong)?;
            Ok((draft, tables, kept))
        })
        .await?;
        draft.publish(true).await.map_err(|error| EffectError { applied: crate::effect::Applied::Unknown, ..error })?;
        Ok(Restored { kept: kept.map(|kept| kept.display().to_string()), tables, size: fetched.size })
    }
}

/// A file with changes beside it is a database and no copy: the changes would be lost.
fn refuse_open(from: &ObjectUrl) -> Result<(), EffectError> {
    let ObjectUrl::File { path } = from else { return Ok(()) };
    let has = |suffix: &&str| fs::metadata(sibling(Path::new(path), suffix)).is_ok_and(|found| found.len() > 0);
    let Some(suffix) = ["-wal", "-journal"].iter().find(|suffix| has(suffix)) else { return Ok(()) };
    let message = format!("`{from}` is a database with changes in its `{suffix}` file, and no copy");
    Err(EffectError::new(ErrorKind::Conflict, message).hint("make a copy of it first: `sqlite_backup`").not_applied())
}

/// Owner and permissions of the file that it replaces, or the owner of its folder.
fn look_like(path: &Path, draft: &Path) -> io::Result<()> {
    let (model, mode) = match fs::metadata(path) {
        Ok(found) => (found.clone(), found.mode()),
        Err(_) => (fs::metadata(path.parent().unwrap_or(Path::new("/")))?, USUAL_MODE),
    };
    fs::set_permissions(draft, Permissions::from_mode(mode & 0o7777))?;
    let own = fs::metadata(draft)?;
    if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
        std::os::unix::fs::chown(draft, Some(model.uid()), Some(model.gid()))?;
    }
    Ok(())
}

/// Moves what is in the write-ahead log into the file, where that can be done, and finds out whether it is locked.
fn settle(subject: &str, path: &Path) -> Result<(), EffectError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let settled = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        connection.close().map_err(|(_, error)| error)
    });
    match settled.map_err(|error| error.sqlite_error_code()) {
        Err(Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            Err(EffectError::new(ErrorKind::Conflict, format!("database `{subject}` is locked by another process"))
                .hint("see who has it open: `sqlite_writers`")
                .not_applied())
        }
        // One that is damaged or not there is what a restore is for.
        _ => Ok(()),
    }
}

/// Gives the database a second name, and its siblings that name alone: the file that takes its place must not find
/// the log of another database beside it. None when there is no database.
fn keep(path: &Path, word: &str) -> io::Result<Option<PathBuf>> {
    let Some(id) = file_id(path) else {
        // A log without its database belongs to nothing that can be found again by its id.
        move_siblings(path, &sibling(path, &format!(".{word}-orphan")))?;
        return Ok(None);
    };
    let kept = sibling(path, &format!(".{word}-{id}"));
    if !kept.exists() {
        fs::hard_link(path, &kept)?;
    }
    move_siblings(path, &kept)?;
    Ok(Some(kept))
}

fn move_siblings(from: &Path, to: &Path) -> io::Result<()> {
    for suffix in SIBLINGS {
        match fs::rename(sibling(from, suffix), sibling(to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts the database with this id back; without an id there was none before. What is there now is kept too.
fn put_back(subject: &str, path: &Path, id: &str) -> Result<Restored, EffectError> {
    let wrong = |error: io::Error| file_wrong("written", path, &error);
    let now = file_id(path);
    let nothing = |kept: Option<PathBuf>| Restored {
        kept: kept.map(|kept| kept.display().to_string()),
        tables: std::collections::BTreeMap::new(),
        size: fs::metadata(path).map_or(0, |found| found.len()),
    };
    if id.is_empty() {
        if now.is_none() {
            return Ok(nothing(None));
        }
        settle(subject, path)?;
        let kept = keep(path, "undone").map_err(wrong)?;
        fs::remove_file(path).map_err(wrong)?;
        return Ok(nothing(kept));
    }
    let replaced = sibling(path, &format!(".replaced-{id}"));
    let is_back = now.as_deref() == Some(id);
    if is_back {
        // It never went, or is back already.
        if replaced.exists() {
            fs::remove_file(&replaced).map_err(wrong)?;
        }
        move_siblings(&replaced, path).map_err(wrong)?;
        return Ok(nothing(None));
    }
    if !replaced.exists() {
        let message = format!("the database that `{subject}` replaced is not at `{}` any more", replaced.display());
        return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
    }
    settle(subject, path)?;
    let kept = keep(path, "undone").map_err(wrong)?;
    fs::rename(&replaced, path).map_err(wrong)?;
    move_siblings(&replaced, path).map_err(wrong)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(wrong)?;
    Ok(nothing(kept))
}
