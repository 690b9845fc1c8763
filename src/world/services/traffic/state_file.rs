//! A file that deployer keeps for a driver. Writes are atomic, and only one deployer writes at a time. Knows no content.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::poller::Poller;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::cancellation::run_blocking;
use crate::world::services::partial_file::{parent_folder, sync_folder};

/// How long to wait for another deployer that has the folder locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest file that is read. Deployer's files have a few kilobytes.
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// An exclusive lock on the files of a folder. It ends when it is dropped, and with the process.
pub(super) struct FolderLock {
    folder: Arc<File>,
}

/// Locks the folder of `file`. The folder itself is locked, so no lock file is left behind.
pub(super) async fn lock_folder(call: &Call, clock: &dyn Clock, file: &Path) -> Result<FolderLock, EffectError> {
    let folder = parent_folder(file);
    let poller = Poller::new(call, clock, LOCK_TIMEOUT);
    loop {
        let open = File::open(folder).map_err(|why| io_error("open", folder, &why).not_applied())?;
        match open.try_lock() {
            Ok(()) => return Ok(FolderLock { folder: Arc::new(open) }),
            Err(TryLockError::Error(why)) => return Err(io_error("lock", folder, &why).not_applied()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !poller.wait().await.map_err(EffectError::not_applied)? {
            let message = format!("another process has locked the folder `{}`", folder.display());
            return Err(EffectError::new(ErrorKind::Unavailable, message)
                .hint(format!("see which process holds the lock: fuser -v {}", folder.display()))
                .not_applied());
        }
    }
}

/// Reads a file. Returns `None` if it does not exist.
pub(super) fn read(file: &Path) -> Result<Option<String>, EffectError> {
    let text = fs::metadata(file).and_then(|found| {
        if found.len() > SIZE_LIMIT {
            return Err(io::Error::other("the file is too large to be one of deployer's"));
        }
        fs::read_to_string(file)
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(io_error("read", file, &why).not_applied()),
    }
}

impl FolderLock {
    /// Replaces the content of a file atomically.
    pub(super) async fn write(&self, file: &Path, text: &str) -> Result<(), EffectError> {
        let (file, text) = (file.to_owned(), text.to_owned());
        self.run_locked(move || {
            let new = with_suffix(&file, "new");
            let written = File::create(&new).and_then(|mut partial| {
                partial.write_all(text.as_bytes())?;
                partial.sync_all()?;
                fs::rename(&new, &file)?;
                sync_folder(parent_folder(&file))
            });
            written.map_err(|why| {
                let _ = fs::remove_file(&new);
                io_error("write", &file, &why)
            })
        })
        .await
    }

    /// Removes a file. Returns whether there was one.
    pub(super) async fn remove(&self, file: &Path) -> Result<bool, EffectError> {
        let file = file.to_owned();
        self.run_locked(move || match fs::remove_file(&file).and_then(|()| sync_folder(parent_folder(&file))) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(io_error("remove", &file, &why)),
        })
        .await
    }

    /// Runs blocking work. The lock is held until the work is done, even if the future is dropped before.
    async fn run_locked<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let held = Arc::clone(&self.folder);
        run_blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
    }
}

/// Returns `FILE.SUFFIX`, in the same folder.
pub(super) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn io_error(doing: &str, path: &Path, why: &io::Error) -> EffectError {
    let kind = match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    };
    EffectError::new(kind, format!("cannot {doing} `{}`: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn replaces_a_file_atomically_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        let lock = FolderLock { folder: Arc::new(File::open(folder.path()).unwrap()) };
        assert_eq!(read(&file).unwrap(), None);
        assert!(!lock.remove(&file).await.unwrap());
        lock.write(&file, "one").await.unwrap();
        lock.write(&file, "two").await.unwrap();
        assert_eq!(read(&file).unwrap().as_deref(), Some("two"));
        assert!(lock.remove(&file).await.unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("not/here");
        assert_eq!(lock.write(&nowhere, "").await.unwrap_err().kind, ErrorKind::NotFound);
    }
}
