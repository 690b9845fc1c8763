//! A copy of a local volume that is not whole: a folder with a dot before its name, and the containers that are halted
//! for it. A file lock tells whether whoever makes it still lives. Knows nothing of what is copied.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::LocalEngine;
use super::folder::{UNFINISHED, check_name, io_error, read_json, write_json};
use super::process::ProcessMark;
use super::record::ContainerRecord;
use crate::base::run_id::RunId;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Begins the name of the folder; a volume's name never begins with a dot.
const PREFIX: &str = "copy-";
/// Ends the name of the file that whoever makes the copy keeps locked.
const LOCK: &str = ".lock";
const RECORD: &str = "copy.json";
/// How long a process may take to stand still: one that waits for its disk does so first.
const HALT_TIMEOUT: Duration = Duration::from_secs(10);
const HALT_POLL: Duration = Duration::from_millis(1);
pub(super) const DATA: &str = "data";

/// `volumes/.copy-NAME/copy.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HalfRecord {
    pub of: String,
    pub to: String,
    pub run: String,
    /// Ids of the containers that are halted meanwhile.
    pub paused: Vec<String>,
}

/// A copy that this process makes. Whatever is not made a volume of is taken away when this is dropped.
pub(super) struct Half<'a> {
    engine: &'a LocalEngine,
    pub folder: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl LocalEngine {
    fn half_folder(&self, to: &str) -> PathBuf {
        self.folder.volumes().join(format!("{UNFINISHED}{PREFIX}{to}"))
    }

    /// Begins a copy, and takes away what a killed process left of the same.
    pub(super) fn begin_half(&self, call: &Call, of: &str, to: &str) -> Result<Half<'_>, EffectError> {
        check_name("volume", to)?;
        let half = self.take_half(to)?.ok_or_else(|| {
            EffectError::new(ErrorKind::Locked, format!("volume `{to}` is being copied by another process"))
                .hint("wait for it to end")
                .not_applied()
        })?;
        half.clear()?;
        fs::create_dir_all(half.data()).map_err(|why| io_error("create", &half.folder, &why))?;
        half.write(&HalfRecord { of: of.into(), to: to.into(), run: call.run.to_string(), paused: Vec::new() })?;
        Ok(half)
    }

    /// None when another process, or another branch of this one, is at work at it.
    fn take_half(&self, to: &str) -> Result<Option<Half<'_>>, EffectError> {
        let folder = self.half_folder(to);
        let lock = self.folder.volumes().join(format!("{UNFINISHED}{PREFIX}{to}{LOCK}"));
        loop {
            let fail = |why: std::io::Error| io_error("lock", &lock, &why);
            let held = File::options().create(true).append(true).open(&lock).map_err(fail)?;
            match held.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(why)) => return Err(fail(why)),
            }
            // Whoever held it before took the file away, and a third one may have made another.
            let (mine, there) = (held.metadata().map_err(fail)?.ino(), fs::metadata(&lock).ok().map(|meta| meta.ino()));
            if there == Some(mine) {
                return Ok(Some(Half { engine: self, folder, lock, _held: held }));
            }
        }
    }

    /// Takes away a half copy into this volume, of that run alone where one is given. False when there is none, or when
    /// it is still being made.
    pub(super) fn clear_half(&self, to: &str, run: Option<&RunId>) -> Result<bool, EffectError> {
        let folder = self.half_folder(to);
        if !folder.exists() {
            return Ok(false);
        }
        let record: Option<HalfRecord> = read_json(&folder.join(RECORD))?;
        if run.is_some_and(|run| record.as_ref().is_none_or(|record| record.run != run.as_str())) {
            return Ok(false);
        }
        match self.take_half(to)? {
            Some(half) => half.clear().map(|()| true),
            None => Ok(false),
        }
    }

    /// What is known of all copies that are not whole.
    pub(super) fn halves(&self) -> Result<Vec<HalfRecord>, EffectError> {
        let folder = self.folder.volumes();
        let entries = fs::read_dir(&folder).map_err(|why| io_error("read", &folder, &why))?;
        let begins = format!("{UNFINISHED}{PREFIX}");
        let is_half = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins));
        let halves = entries.flatten().map(|entry| entry.path()).filter(is_half);
        Ok(halves.filter_map(|path| read_json(&path.join(RECORD)).ok().flatten()).collect())
    }

    /// Halts the processes of containers, or lets them go on; returns those that there are.
    fn signal_containers(&self, ids: &[String], signal: Signal) -> Result<Vec<ProcessMark>, EffectError> {
        let mut signalled = Vec::new();
        for id in ids {
            if let Some(record) = self.find(id)?
                && let Some(child) = self.life(&record)?.child
                && child.signal_group(signal)
            {
                signalled.push(child);
            }
        }
        Ok(signalled)
    }
}

impl Half<'_> {
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    fn write(&self, record: &HalfRecord) -> Result<(), EffectError> {
        write_json(&self.folder.join(RECORD), record)
    }

    fn record(&self) -> Result<Option<HalfRecord>, EffectError> {
        read_json(&self.folder.join(RECORD))
    }

    /// Halts these until the copy is done or taken away; who they are is on disk before. The signal only asks: what a
    /// process is just writing it writes to its end, so this waits until all of them stand still.
    pub(super) fn pause(&self, containers: &[ContainerRecord]) -> Result<(), EffectError> {
        let paused: Vec<String> = containers.iter().map(|container| container.id.clone()).collect();
        if let Some(record) = self.record()? {
            self.write(&HalfRecord { paused: paused.clone(), ..record })?;
        }
        let halted = self.engine.signal_containers(&paused, Signal::SIGSTOP)?;
        let end = Instant::now() + HALT_TIMEOUT;
        while !halted.iter().all(ProcessMark::is_group_halted) {
            if Instant::now() > end {
                let message = "those who write to the volume do not stand still, though they were told to";
                return Err(EffectError::new(ErrorKind::Timeout, message).not_applied());
            }
            std::thread::sleep(HALT_POLL);
        }
        Ok(())
    }

    pub(super) fn unpause(&self) -> Result<(), EffectError> {
        match self.record()? {
            Some(record) => self.engine.signal_containers(&record.paused, Signal::SIGCONT).map(drop),
            None => Ok(()),
        }
    }

    fn clear(&self) -> Result<(), EffectError> {
        self.unpause()?;
        if self.folder.exists() { self.engine.discard(&self.folder) } else { Ok(()) }
    }

    /// Makes it a volume, all at once.
    pub(super) fn finish(self, volume: &Path) -> Result<(), EffectError> {
        let record = self.folder.join(RECORD);
        fs::remove_file(&record).map_err(|why| io_error("remove", &record, &why))?;
        fs::rename(&self.folder, volume).map_err(|why| io_error("create", volume, &why))
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(folder = %self.folder.display(), %error, "a half copy is left behind");
        }
        let _ = fs::remove_file(&self.lock);
    }
}
