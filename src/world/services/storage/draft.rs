//! A file that gets its name only when it is whole. Knows no storage.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::wait::lost_thread;
use super::taken;
use crate::base::object_url::ObjectUrl;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Begins and ends the names of files that are not whole.
pub(super) const BEGIN: &str = ".deployer-";
pub(super) const END: &str = ".part";
/// A draft of a process that was killed: nobody works on one for so long.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Read at a time.
const PIECE: usize = 1 << 20;

/// A file without its name yet. Vanishes when it is dropped.
pub(in super::super) struct Draft {
    file: NamedTempFile,
    target: PathBuf,
    measured: Mutex<Option<Transferred>>,
}

/// What was transferred.
#[derive(Clone, Debug)]
pub(in super::super) struct Transferred {
    pub size: u64,
    pub sha256: String,
}

impl Draft {
    /// A draft in the folder of the file that it will be; the folder must be there.
    pub(in super::super) fn beside(target: &Path) -> Result<Self, EffectError> {
        let folder = folder_of(target);
        if target.is_dir() {
            let message = format!("`{}` is a folder: the name of the file is missing", target.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let made = tempfile::Builder::new().prefix(BEGIN).suffix(END).tempfile_in(folder);
        let file = made.map_err(|error| file_wrong("written", target, &error).not_applied())?;
        sweep(folder);
        Ok(Self { file, target: target.to_owned(), measured: Mutex::default() })
    }

    pub(in super::super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(in super::super) fn target(&self) -> &Path {
        &self.target
    }

    /// Copies a file into it.
    pub(in super::super) async fn fill_from(&mut self, call: &Call, from: &Path) -> Result<Transferred, EffectError> {
        let unreadable = |error: io::Error| file_wrong("read", from, &error).not_applied();
        let mut source = tokio::fs::File::open(from).await.map_err(unreadable)?;
        let metadata = source.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            let message = format!("`{}` is not a file", from.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let mut sink = self.sink()?;
        let mut piece = vec![0; PIECE];
        loop {
            let count = source.read(&mut piece).await.map_err(unreadable)?;
            if count == 0 {
                return sink.finish().await;
            }
            sink.write(&piece[..count]).await?;
            sink.tell(call, metadata.len());
        }
    }

    /// Brings what others wrote into it to the disk, and measures it. Who writes to it again, settles it again.
    pub(in super::super) fn settle(&self) -> Result<(), EffectError> {
        let wrong = |done: &str, error: &io::Error| file_wrong(done, &self.target, error).not_applied();
        let (synced, measured) = std::thread::scope(|scope| {
            let synced = scope.spawn(|| self.file.as_file().sync_all());
            let measured = self.file.reopen().and_then(measure);
            (synced.join(), measured)
        });
        synced
            .unwrap_or_else(|_| Err(io::Error::other("a thread was lost")))
            .map_err(|error| wrong("written", &error))?;
        let measured = measured.map_err(|error| wrong("read", &error))?;
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        Ok(())
    }

    /// Size and digest of what others wrote into it.
    pub(in super::super) async fn measured(&self) -> Result<Transferred, EffectError> {
        let settled = self.measured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(measured) = settled {
            return Ok(measured);
        }
        let unreadable = |error: io::Error| file_wrong("read", &self.target, &error).not_applied();
        let file = self.file.reopen().map_err(unreadable)?;
        let measured = tokio::task::spawn_blocking(move || measure(file)).await;
        measured.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(unreadable)
    }

    /// Takes bytes from the beginning on.
    pub(super) fn sink(&self) -> Result<Sink, EffectError> {
        let wrong = |error: io::Error| file_wrong("written", &self.target, &error).not_applied();
        let file = self.file.reopen().and_then(|file| file.set_len(0).map(|()| file)).map_err(wrong)?;
        Ok(Sink { file: file.into(), target: self.target.clone(), digest: Sha256::new(), size: 0 })
    }

    /// Gives it its name, on disk for good.
    pub(in super::super) async fn publish(self, overwrite: bool) -> Result<(), EffectError> {
        let work = move || {
            let target = self.target;
            let wrong = |error: &io::Error| file_wrong("written", &target, error).not_applied();
            self.file.as_file().sync_all().map_err(|error| wrong(&error))?;
            let named = if overwrite { self.file.persist(&target) } else { self.file.persist_noclobber(&target) };
            named.map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => taken(&ObjectUrl::File { path: target.display().to_string() }),
                _ => wrong(&error.error),
            })?;
            sync_folder(folder_of(&target)).map_err(|error| file_wrong("written", &target, &error))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(lost_thread(&error)))
    }
}

fn measure(mut file: File) -> io::Result<Transferred> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    let mut size = 0;
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(Transferred { size, sha256: hex(&digest.finalize()) });
        }
        digest.update(&piece[..count]);
        size += count as u64;
    }
}

/// The bytes of a draft as they arrive.
pub(super) struct Sink {
    file: tokio::fs::File,
    target: PathBuf,
    digest: Sha256,
    size: u64,
}

impl Sink {
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), EffectError> {
        self.digest.update(piece);
        self.size += piece.len() as u64;
        self.file.write_all(piece).await.map_err(|error| file_wrong("written", &self.target, &error).not_applied())
    }

    pub(super) fn tell(&self, call: &Call, whole: u64) {
        if whole > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
            call.tell_fraction(format!("{} MB", self.size >> 20), self.size as f32 / whole as f32);
        }
    }

    pub(super) async fn finish(mut self) -> Result<Transferred, EffectError> {
        self.file.flush().await.map_err(|error| file_wrong("written", &self.target, &error).not_applied())?;
        Ok(Transferred { size: self.size, sha256: hex(&self.digest.finalize()) })
    }
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name is on disk when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn is_draft(name: &str) -> bool {
    name.starts_with(BEGIN) && name.ends_with(END)
}

/// Removes drafts that a killed process left.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_draft(&entry.file_name().to_string_lossy())) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|then| then.elapsed());
        if matches!(age, Ok(Ok(age)) if age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What an error of a file means for people; `done` is what it cannot be: `read`, `written`.
pub(in super::super) fn file_wrong(done: &str, path: &Path, error: &io::Error) -> EffectError {
    let path = path.display();
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Failed,
    };
    let wrong = EffectError::new(kind, format!("`{path}` cannot be {done}: {}", super::super::reason::reason(error)));
    match kind {
        ErrorKind::NotFound if done == "written" => wrong.hint("its folder must be there: make it with `mkdir -p`"),
        ErrorKind::DiskFull => wrong.hint("make room there: df -h"),
        _ => wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_settles_again_gets_what_is_there_now() {
        let folder = tempfile::tempdir().unwrap();
        let draft = Draft::beside(&folder.path().join("copy.db")).unwrap();
        for text in ["one", "three"] {
            fs::write(draft.path(), text).unwrap();
            draft.settle().unwrap();
            let measured = draft.measured().await.unwrap();
            assert_eq!((measured.size, measured.sha256), (text.len() as u64, hex(&Sha256::digest(text))));
        }
    }
}
