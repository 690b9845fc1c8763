//! `sqlite_backup`: SQLite's own online backup within one read transaction. Writers continue, and the copy is a snapshot
//! of one instant. It is checked before it gets its name.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::check::{RowCounts, check_integrity, count_rows};
use super::connection::{immutable_url, read_database, sqlite_error, with_resolved_folder};
use super::context::SqliteContext;
use super::worker::{StopSignal, join, run_on_thread};
use crate::effect::sqlite::{BackUpSqlite, BackedUp};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::object_storage::object_name::object_url;

/// Pages copied between two checks of the stop signal: 40 MB at the usual page size.
const STEP_PAGES: i32 = 10_000;

pub(super) async fn back_up(
    context: &SqliteContext,
    call: &Call,
    request: &BackUpSqlite,
) -> Result<BackedUp, EffectError> {
    let location = context.locator.locate(&request.location).await?;
    let to = match &request.to_volume {
        Some(volume) => {
            request.address_in_volume(&context.locator.writable_folder(volume).await?.display().to_string())?
        }
        None => request.to.clone(),
    };
    let storage = context.storage.storage(call, &to, &request.s3)?;
    let (url, stored_before) =
        object_url(call, context.clock.unix_ms(), &storage, &to, request.name_in_folder()?, "db").await?;
    let overwrite = request.overwrite || stored_before;
    storage.refuse_existing(&url, overwrite).await?;
    let database = context.locator.open_for_reading(&location).await.map_err(EffectError::not_applied)?;
    let partial = storage.partial_file(&url)?;
    let (subject, full, progress) = (request.location.to_string(), request.full, call.clone());
    let (partial, tables) = run_on_thread(move |stop| {
        let tables = DatabaseCopy {
            subject: &subject,
            from: &database.path,
            to: partial.path(),
            full,
            stop,
            on_progress: &|fraction| progress.report_progress_fraction("copying", fraction),
            on_written: &|| partial.sync_and_digest(),
        }
        .run()?;
        Ok((partial, tables))
    })
    .await
    .map_err(EffectError::not_applied)?;
    let stored = storage.publish(call, partial, &url, overwrite).await?;
    Ok(BackedUp { url, size: stored.size, sha256: stored.sha256, tables })
}

/// A copy of a database that is to be made and checked.
pub(super) struct DatabaseCopy<'a> {
    pub subject: &'a str,
    pub from: &'a Path,
    pub to: &'a Path,
    pub full: bool,
    pub stop: &'a StopSignal,
    pub on_progress: &'a dyn Fn(f32),
    /// Called when the whole copy is written, while it is checked.
    pub on_written: &'a dyn Fn() -> Result<(), EffectError>,
}

impl DatabaseCopy<'_> {
    /// Copies the database and checks the copy. Both must have the same number of rows in every table.
    pub(super) fn run(&self) -> Result<RowCounts, EffectError> {
        let &Self { subject, from, to, full, stop, .. } = self;
        let (copy_rows, source_rows) = read_database(subject, from, stop, |source| {
            let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
            // An open transaction keeps the snapshot. Without it, each commit of a writer would restart the copy.
            source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(failed)?;
            self.copy(source)?;
            join(
                || check_unused_file(subject, to, full, stop),
                || {
                    let rows = count_rows(source).map_err(failed)?;
                    (self.on_written)()?;
                    Ok(rows)
                },
            )
        })?;
        if copy_rows == source_rows {
            return Ok(copy_rows);
        }
        let message = format!("the copy of `{subject}` has a different number of rows");
        Err(EffectError::new(ErrorKind::DatabaseCorrupt, message).detail(format!("{source_rows:?}\n{copy_rows:?}")))
    }

    fn copy(&self, source: &Connection) -> Result<(), EffectError> {
        let failed = |error: rusqlite::Error| sqlite_error(self.subject, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let to = with_resolved_folder(self.to);
        let mut target = Connection::open_with_flags(to, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW).map_err(failed)?;
        // The copy gets its name only when it is complete and synced, so it needs no journal.
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
        {
            let backup = Backup::new(source, &mut target).map_err(failed)?;
            loop {
                self.stop.check()?;
                let step = backup.step(STEP_PAGES).map_err(failed)?;
                let progress = backup.progress();
                if progress.pagecount > 0 {
                    #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
                    (self.on_progress)(1.0 - progress.remaining as f32 / progress.pagecount as f32);
                }
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => {
                        let message = format!("database `{}` is locked by another process", self.subject);
                        return Err(EffectError::new(ErrorKind::Unavailable, message));
                    }
                }
            }
        }
        target.close().map_err(|(_, error)| failed(error))
    }
}

/// Checks a file that no one else uses, and counts its rows.
pub(super) fn check_unused_file(
    subject: &str,
    path: &Path,
    full: bool,
    stop: &StopSignal,
) -> Result<RowCounts, EffectError> {
    stop.check()?;
    let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let url = immutable_url(&with_resolved_folder(path))
        .ok_or_else(|| EffectError::new(ErrorKind::Invalid, format!("`{}` is not a valid path", path.display())))?;
    let connection = Connection::open_with_flags(url, flags).map_err(failed)?;
    stop.watch(&connection);
    check_integrity(subject, &connection, full)?;
    count_rows(&connection).map_err(failed)
}
