//! A file that gets its name only when it is complete. Knows no storage.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::cancellation::run_blocking;
use super::file_error::file_error;
use crate::base::object_url::ObjectUrl;
use crate::effect::object::object_exists;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Start and end of the names of incomplete files.
const PREFIX: &str = ".deployer-";
const SUFFIX: &str = ".part";
/// Age from which an incomplete file was left by a killed process: no transfer takes this long.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// A file without its final name. It is deleted when this value is dropped.
pub(crate) struct PartialFile {
    file: NamedTempFile,
    target: PathBuf,
    digest: Mutex<Option<FileDigest>>,
}

/// Size and checksum of a file.
#[derive(Clone, Debug)]
pub(crate) struct FileDigest {
    pub size: u64,
    pub sha256: String,
}

impl PartialFile {
    /// Creates a partial file in the folder of its future name. The folder must exist.
    pub(crate) fn for_target(target: &Path) -> Result<Self, EffectError> {
        let folder = parent_folder(target);
        if target.is_dir() {
            let message = format!("`{}` is a folder: the file name is missing", target.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let created = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder);
        let file = created.map_err(|error| file_error("written", target, &error).not_applied())?;
        remove_stale(folder);
        Ok(Self { file, target: target.to_owned(), digest: Mutex::default() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Copies a file into this one.
    pub(crate) async fn copy_from(&mut self, call: &Call, from: &Path) -> Result<FileDigest, EffectError> {
        let unreadable = |error: io::Error| file_error("read", from, &error).not_applied();
        let mut source = tokio::fs::File::open(from).await.map_err(unreadable)?;
        let metadata = source.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            let message = format!("`{}` is not a file", from.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let mut writer = self.writer()?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = source.read(&mut chunk).await.map_err(unreadable)?;
            if count == 0 {
                return writer.finish().await;
            }
            writer.write(&chunk[..count]).await?;
            writer.report_progress(call, metadata.len());
        }
    }

    /// Syncs what others wrote to the file's path, and computes its digest at the same time.
    ///
    /// After another write it must be called again.
    pub(crate) fn sync_and_digest(&self) -> Result<(), EffectError> {
        let failed = |action: &str, error: &io::Error| file_error(action, &self.target, error).not_applied();
        let (synced, digest) = std::thread::scope(|scope| {
            let synced = scope.spawn(|| self.file.as_file().sync_all());
            let digest = self.file.reopen().and_then(digest_file);
            (synced.join(), digest)
        });
        synced
            .unwrap_or_else(|_| Err(io::Error::other("a worker thread failed")))
            .map_err(|error| failed("written", &error))?;
        let digest = digest.map_err(|error| failed("read", &error))?;
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Ok(())
    }

    /// Returns the digest of what others wrote to the file's path.
    pub(crate) async fn digest(&self) -> Result<FileDigest, EffectError> {
        let known = self.digest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(digest) = known {
            return Ok(digest);
        }
        let unreadable = |error: io::Error| file_error("read", &self.target, &error).not_applied();
        let file = self.file.reopen().map_err(unreadable)?;
        let digest = tokio::task::spawn_blocking(move || digest_file(file)).await;
        digest.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(unreadable)
    }

    /// Empties the file and returns a writer for its new content.
    pub(crate) fn writer(&self) -> Result<PartialFileWriter, EffectError> {
        let failed = |error: io::Error| file_error("written", &self.target, &error).not_applied();
        let file = self.file.reopen().and_then(|file| file.set_len(0).map(|()| file)).map_err(failed)?;
        Ok(PartialFileWriter { file: file.into(), target: self.target.clone(), hasher: Sha256::new(), size: 0 })
    }

    /// Syncs the file and gives it its final name.
    pub(crate) async fn publish(self, overwrite: bool) -> Result<(), EffectError> {
        run_blocking(move || {
            let target = self.target;
            let failed = |error: &io::Error| file_error("written", &target, error).not_applied();
            self.file.as_file().sync_all().map_err(|error| failed(&error))?;
            let renamed = if overwrite { self.file.persist(&target) } else { self.file.persist_noclobber(&target) };
            renamed.map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => object_exists(&ObjectUrl::File { path: target.display().to_string() }),
                _ => failed(&error.error),
            })?;
            sync_folder(parent_folder(&target)).map_err(|error| file_error("written", &target, &error))
        })
        .await
    }
}

fn digest_file(mut file: File) -> io::Result<FileDigest> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok(FileDigest { size, sha256: hex(&hasher.finalize()) });
        }
        hasher.update(&chunk[..count]);
        size += count as u64;
    }
}

/// Writes a partial file chunk by chunk, and computes its digest on the way.
pub(crate) struct PartialFileWriter {
    file: tokio::fs::File,
    target: PathBuf,
    hasher: Sha256,
    size: u64,
}

impl PartialFileWriter {
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), EffectError> {
        self.hasher.update(chunk);
        self.size += chunk.len() as u64;
        self.file.write_all(chunk).await.map_err(|error| file_error("written", &self.target, &error).not_applied())
    }

    /// Reports how much of `total` bytes is written.
    pub(crate) fn report_progress(&self, call: &Call, total: u64) {
        if total > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
            call.report_progress_fraction(format!("{} MB", self.size >> 20), self.size as f32 / total as f32);
        }
    }

    pub(crate) async fn finish(mut self) -> Result<FileDigest, EffectError> {
        self.file.flush().await.map_err(|error| file_error("written", &self.target, &error).not_applied())?;
        Ok(FileDigest { size: self.size, sha256: hex(&self.hasher.finalize()) })
    }
}

/// Returns a digest in hexadecimal.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the folder of a path; `.` for a bare file name.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Syncs a folder. A new name in it survives a power failure only after this.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns whether this is the name of a partial file.
pub(crate) fn is_partial(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Removes partial files that a killed process left.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_partial(&entry.file_name().to_string_lossy())) {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|modified| modified.elapsed());
        if matches!(age, Ok(Ok(age)) if age > STALE_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_sync_updates_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let file = PartialFile::for_target(&folder.path().join("copy.db")).unwrap();
        for text in ["one", "three"] {
            fs::write(file.path(), text).unwrap();
            file.sync_and_digest().unwrap();
            let digest = file.digest().await.unwrap();
            assert_eq!((digest.size, digest.sha256), (text.len() as u64, hex(&Sha256::digest(text))));
        }
    }
}
