//! An unfinished copy of a local volume: a folder whose name starts with a dot, and the containers that are paused for
//! it. A file lock shows whether the process that makes the copy is still alive. Knows nothing of what is copied.

use std::fs;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::base::run_id::RunId;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::container::record::ContainerRecord;
use crate::world::local::local_engine::LocalEngine;
use crate::world::local::process::ProcessId;
use crate::world::local::state_folder::{UNFINISHED, check_name, io_error, read_json, write_json};

/// Prefix of the folder's name; a volume's name never starts with a dot.
const PREFIX: &str = "copy-";
/// Suffix of the file that the copying process keeps locked.
const LOCK: &str = ".lock";
const RECORD: &str = "copy.json";
/// How long a process may take to stop: one that waits for its disk finishes that first.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE_POLL: Duration = Duration::from_millis(1);
pub(crate) const DATA: &str = "data";

/// `volumes/.copy-NAME/copy.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartialCopyRecord {
    pub(crate) of: String,
    pub(crate) to: String,
    pub(crate) run: String,
    /// Ids of the containers that are paused during the copy.
    pub(crate) paused: Vec<String>,
}

/// A copy that this process is making. Unless it becomes a volume, it is removed when dropped.
pub(crate) struct PartialCopy<'a> {
    engine: &'a LocalEngine,
    pub(crate) folder: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl LocalEngine {
    fn partial_copy_folder(&self, to: &str) -> PathBuf {
        self.folder.volumes().join(format!("{UNFINISHED}{PREFIX}{to}"))
    }

    /// Starts a copy, after removing what a killed process left of the same copy.
    pub(crate) fn begin_partial_copy(&self, call: &Call, of: &str, to: &str) -> Result<PartialCopy<'_>, EffectError> {
        check_name("volume", to)?;
        let partial = self.lock_partial_copy(to)?.ok_or_else(|| {
            EffectError::new(ErrorKind::Locked, format!("volume `{to}` is being copied by another process"))
                .hint("wait for it to finish")
                .not_applied()
        })?;
        partial.clear()?;
        fs::create_dir_all(partial.data()).map_err(|why| io_error("create", &partial.folder, &why))?;
        partial.write(&PartialCopyRecord {
            of: of.into(),
            to: to.into(),
            run: call.run.to_string(),
            paused: Vec::new(),
        })?;
        Ok(partial)
    }

    /// Returns `None` if another process, or another branch of this one, is working on it.
    fn lock_partial_copy(&self, to: &str) -> Result<Option<PartialCopy<'_>>, EffectError> {
        let folder = self.partial_copy_folder(to);
        let lock = self.folder.volumes().join(format!("{UNFINISHED}{PREFIX}{to}{LOCK}"));
        loop {
            let fail = |why: std::io::Error| io_error("lock", &lock, &why);
            let held = File::options().create(true).append(true).open(&lock).map_err(fail)?;
            match held.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) => return Err(fail(why)),
            }
            // The previous holder may have removed the file, and a third one may have created another.
            let (mine, there) = (held.metadata().map_err(fail)?.ino(), fs::metadata(&lock).ok().map(|meta| meta.ino()));
            if there == Some(mine) {
                return Ok(Some(PartialCopy { engine: self, folder, lock, _held: held }));
            }
        }
    }

    /// Removes an unfinished copy into this volume, only of the given run if there is one. Returns false if there is
    /// none, or if it is still being made.
    pub(crate) fn discard_partial_copy(&self, to: &str, run: Option<&RunId>) -> Result<bool, EffectError> {
        let folder = self.partial_copy_folder(to);
        if !folder.exists() {
            return Ok(false);
        }
        let record: Option<PartialCopyRecord> = read_json(&folder.join(RECORD))?;
        if run.is_some_and(|run| record.as_ref().is_none_or(|record| record.run != run.as_str())) {
            return Ok(false);
        }
        match self.lock_partial_copy(to)? {
            Some(partial) => partial.clear().map(|()| true),
            None => Ok(false),
        }
    }

    /// Returns the records of all unfinished copies.
    pub(crate) fn partial_copies(&self) -> Result<Vec<PartialCopyRecord>, EffectError> {
        let folder = self.folder.volumes();
        let entries = fs::read_dir(&folder).map_err(|why| io_error("read", &folder, &why))?;
        let prefix = format!("{UNFINISHED}{PREFIX}");
        let is_partial_copy =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let partial_copies = entries.flatten().map(|entry| entry.path()).filter(is_partial_copy);
        Ok(partial_copies.filter_map(|path| read_json(&path.join(RECORD)).ok().flatten()).collect())
    }

    /// Sends a stop or continue signal to the processes of containers. Returns those that got it.
    fn signal_containers(&self, ids: &[String], signal: Signal) -> Result<Vec<ProcessId>, EffectError> {
        let mut signalled = Vec::new();
        for id in ids {
            if let Some(record) = self.find_container(id)?
                && let Some(child) = self.container_status(&record)?.child
                && child.signal_group(signal)
            {
                signalled.push(child);
            }
        }
        Ok(signalled)
    }
}

impl PartialCopy<'_> {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    fn write(&self, record: &PartialCopyRecord) -> Result<(), EffectError> {
        write_json(&self.folder.join(RECORD), record)
    }

    fn record(&self) -> Result<Option<PartialCopyRecord>, EffectError> {
        read_json(&self.folder.join(RECORD))
    }

    /// Pauses these containers until the copy is finished or removed; their ids are on disk first. The signal is only a
    /// request: a process completes a write in progress, so this waits until all threads are stopped.
    pub(crate) fn pause(&self, containers: &[ContainerRecord]) -> Result<(), EffectError> {
        let paused: Vec<String> = containers.iter().map(|container| container.id.clone()).collect();
        if let Some(record) = self.record()? {
            self.write(&PartialCopyRecord { paused: paused.clone(), ..record })?;
        }
        let paused_processes = self.engine.signal_containers(&paused, Signal::SIGSTOP)?;
        let end = Instant::now() + PAUSE_TIMEOUT;
        while !paused_processes.iter().all(ProcessId::is_group_stopped) {
            if Instant::now() > end {
                let message = "the processes that write to the volume did not stop after SIGSTOP";
                return Err(EffectError::new(ErrorKind::Timeout, message).not_applied());
            }
            std::thread::sleep(PAUSE_POLL);
        }
        Ok(())
    }

    pub(crate) fn unpause(&self) -> Result<(), EffectError> {
        match self.record()? {
            Some(record) => self.engine.signal_containers(&record.paused, Signal::SIGCONT).map(drop),
            None => Ok(()),
        }
    }

    fn clear(&self) -> Result<(), EffectError> {
        self.unpause()?;
        if self.folder.exists() { self.engine.remove_folder(&self.folder) } else { Ok(()) }
    }

    /// Turns the copy into a volume, atomically.
    pub(crate) fn finish(self, volume: &Path) -> Result<(), EffectError> {
        let record = self.folder.join(RECORD);
        fs::remove_file(&record).map_err(|why| io_error("remove", &record, &why))?;
        fs::rename(&self.folder, volume).map_err(|why| io_error("create", volume, &why))
    }
}

impl Drop for PartialCopy<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(folder = %self.folder.display(), %error, "could not remove an unfinished copy");
        }
        let _ = fs::remove_file(&self.lock);
    }
}
