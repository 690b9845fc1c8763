//! `sqlite_backup`: SQLite's own online backup within one read transaction, so that writers go on and the copy is the
//! database of one instant; checked before it gets its name.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::Services;
use super::super::storage::{Draft, Storage, Transferred, file_wrong};
use super::check::{sound, tables};
use super::file::{reading, still_address, wrong};
use super::thread::{Stop, on_thread};
use crate::base::object_url::ObjectUrl;
use crate::effect::sqlite::{BackUpSqlite, BackedUp};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Pages copied between two looks at whether to stop: 40 MB at the usual size.
const STEP: i32 = 10_000;

impl Services {
    pub(super) async fn back_up(&self, call: &Call, request: &BackUpSqlite) -> Result<BackedUp, EffectError> {
        let located = self.locate(&request.place).await?;
        let storage = self.storage(call, &request.to, &request.s3)?;
        let (url, is_own) = self.copy_url(call, request, &storage).await?;
        let overwrite = request.overwrite || is_own;
        self.refuse_taken(&storage, &url, overwrite).await?;
        let reached = self.reach(&located).await.map_err(EffectError::not_applied)?;
        let draft = match &storage {
            Storage::Folder => Draft::beside(Path::new(url.key()))?,
            Storage::S3(_) => Draft::beside(&std::env::temp_dir().join(url.name()))?,
        };
        let (subject, full, told) = (request.place.to_string(), request.full, call.clone());
        let (draft, tables) = on_thread(move |stop| {
            let tables = copy(&subject, &reached.path, draft.path(), full, stop, &|share| {
                told.tell_fraction("copying", share);
            })?;
            draft.file().sync_all().map_err(|error| file_wrong("written", draft.target(), &error))?;
            Ok((draft, tables))
        })
        .await
        .map_err(EffectError::not_applied)?;
        let stored = match &storage {
            Storage::Folder => {
                let stored = draft.measured().await?;
                draft.publish(overwrite).await?;
                stored
            }
            Storage::S3(_) => {
                let stored = self.store(call, &storage, draft.path(), url.clone(), overwrite).await?;
                Transferred { size: stored.size, sha256: stored.sha256 }
            }
        };
        Ok(BackedUp { url, size: stored.size, sha256: stored.sha256, tables })
    }

    /// The copy's address, and whether this very effect made what is there: it is done again after a crash.
    async fn copy_url(
        &self,
        call: &Call,
        request: &BackUpSqlite,
        storage: &Storage,
    ) -> Result<(ObjectUrl, bool), EffectError> {
        let is_folder = match &request.to {
            ObjectUrl::File { path } => request.to.is_folder() || Path::new(path).is_dir(),
            ObjectUrl::S3 { .. } => request.to.is_folder(),
        };
        if !is_folder {
            return Ok((request.to.clone(), false));
        }
        let begin = request.to.join(&format!("{}-", request.place.stem()));
        let end = format!("-{}-{}.db", call.run, call.seq);
        let found = storage.list(&begin, usize::MAX).await.map_err(EffectError::not_applied)?;
        if let Some(own) = found.into_iter().find(|object| object.name.ends_with(&end)) {
            return Ok((own.url, true));
        }
        let now = Timestamp::from_millisecond(self.clock.unix_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        Ok((begin.with_key(format!("{}{stamp}{end}", begin.key())), false))
    }
}

/// Copies a database and checks the copy. The rows of every table are counted on both sides.
pub(super) fn copy(
    subject: &str,
    from: &Path,
    to: &Path,
    full: bool,
    stop: &Stop,
    told: &dyn Fn(f32),
) -> Result<BTreeMap<String, u64>, EffectError> {
    let counted = reading(subject, from, stop, |source| {
        let failed = |error: rusqlite::Error| wrong(subject, &error);
        // A transaction that is open holds the snapshot: without it every commit of a writer starts the copy anew.
        source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(failed)?;
        let mut target = Connection::open(to).map_err(failed)?;
        // The copy has its name only when it is whole and on disk: it needs no journal of its own.
        target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
        {
            let backup = Backup::new(source, &mut target).map_err(failed)?;
            loop {
                stop.check()?;
                let step = backup.step(STEP).map_err(failed)?;
                let progress = backup.progress();
                if progress.pagecount > 0 {
                    #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
                    told(1.0 - progress.remaining as f32 / progress.pagecount as f32);
                }
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => {
                        let message = format!("database `{subject}` is locked by another process");
                        return Err(EffectError::new(ErrorKind::Unavailable, message));
                    }
                }
            }
        }
        target.close().map_err(|(_, error)| failed(error))?;
        tables(source).map_err(failed)
    })?;
    let checked = inspect(subject, to, full, stop)?;
    if checked == counted {
        return Ok(checked);
    }
    Err(EffectError::new(ErrorKind::DatabaseCorrupt, format!("the copy of `{subject}` has other rows than `{subject}` itself"))
        .detail(format!("{counted:?}\n{checked:?}")))
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
