//! `sqlite_backup`: SQLite's own online backup within one read transaction, so that writers go on and the copy is the
//! database of one instant; checked before it gets its name.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::Services;
use super::check::{sound, tables};
use super::file::{reading, still_address, wrong};
use super::thread::{Stop, both, on_thread};
use crate::effect::sqlite::{BackUpSqlite, BackedUp};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Pages copied between two looks at whether to stop: 40 MB at the usual size.
const STEP: i32 = 10_000;

impl Services {
    pub(super) async fn back_up(&self, call: &Call, request: &BackUpSqlite) -> Result<BackedUp, EffectError> {
        let located = self.locate(&request.place).await?;
        let to = match &request.to_volume {
            Some(volume) => request.inside(&self.folder_of(volume).await?.display().to_string())?,
            None => request.to.clone(),
        };
        let storage = self.storage(call, &to, &request.s3)?;
        let (url, is_own) = self.name_in(call, &storage, &to, request.place.stem(), "db").await?;
        let overwrite = request.overwrite || is_own;
        self.refuse_taken(&storage, &url, overwrite).await?;
        let reached = self.reach(&located).await.map_err(EffectError::not_applied)?;
        let draft = self.draft(&storage, &url)?;
        let (subject, full, told) = (request.place.to_string(), request.full, call.clone());
        let (draft, tables) = on_thread(move |stop| {
            let tables = Copying {
                subject: &subject,
                from: &reached.path,
                to: draft.path(),
                full,
                stop,
                told: &|share| told.tell_fraction("copying", share),
                once_written: &|| draft.settle(),
            }
            .run()?;
            Ok((draft, tables))
        })
        .await
        .map_err(EffectError::not_applied)?;
        let stored = self.give_name(call, &storage, draft, &url, overwrite).await?;
        Ok(BackedUp { url, size: stored.size, sha256: stored.sha256, tables })
    }
}

/// A copy of a database to be made and checked.
pub(super) struct Copying<'a> {
    pub subject: &'a str,
    pub from: &'a Path,
    pub to: &'a Path,
    pub full: bool,
    pub stop: &'a Stop,
    pub told: &'a dyn Fn(f32),
    /// Called when all of the copy is written, while it is checked.
    pub once_written: &'a dyn Fn() -> Result<(), EffectError>,
}

impl Copying<'_> {
    /// Copies and checks. The rows of every table are counted on both sides.
    pub(super) fn run(&self) -> Result<BTreeMap<String, u64>, EffectError> {
        let &Self { subject, from, to, full, stop, .. } = self;
        let (checked, counted) = reading(subject, from, stop, |source| {
            let failed = |error: rusqlite::Error| wrong(subject, &error);
            // A transaction that is open holds the snapshot: without it every commit of a writer starts the copy anew.
            source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(failed)?;
            self.copy(source)?;
            both(
                || inspect(subject, to, full, stop),
                || {
                    let counted = tables(source).map_err(failed)?;
                    (self.once_written)()?;
                    Ok(counted)
                },
            )
        })?;
        if checked == counted {
            return Ok(checked);
        }
        Err(EffectError::new(
            ErrorKind::DatabaseCorrupt,
            format!("the copy of `{subject}` has other rows than `{subject}` itself"),
        )
        .detail(format!("{counted:?}\n{checked:?}")))
    }

    fn copy(&self, source: &Connection) -> Result<(), EffectError> {
        let failed = |error: rusqlite::Error| wrong(self.subject, &error);
        let mut target = Connection::open(self.to).map_err(failed)?;
        // The copy has its name only when it is whole and on disk: it needs no journal of its own.
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
        {
            let backup = Backup::new(source, &mut target).map_err(failed)?;
            loop {
                self.stop.check()?;
                let step = backup.step(STEP).map_err(failed)?;
                let progress = backup.progress();
                if progress.pagecount > 0 {
                    #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
                    (self.told)(1.0 - progress.remaining as f32 / progress.pagecount as f32);
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

/// Checks a file that nobody else uses, and counts its rows.
pub(super) fn inspect(
    subject: &str,
    path: &Path,
    full: bool,
    stop: &Stop,
) -> Result<BTreeMap<String, u64>, EffectError> {
    stop.check()?;
    let failed = |error: rusqlite::Error| wrong(subject, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let address = still_address(path)
        .ok_or_else(|| EffectError::new(ErrorKind::Invalid, format!("`{}` is no path", path.display())))?;
    let connection = Connection::open_with_flags(address, flags).map_err(failed)?;
    stop.watches(&connection);
    sound(subject, &connection, full)?;
    tables(&connection).map_err(failed)
}
