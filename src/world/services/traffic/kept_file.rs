//! A file that deployer keeps for a driver: written so that a reader sees the old or the new one, whole, and by one
//! deployer at a time. Knows nothing of what is in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::wait::lost_thread;
use super::patience::Patience;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// How long another deployer may take with its own change.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
/// What is read of a file; ours are a few kilobytes.
const SIZE_LIMIT: u64 = 4 * 1024 * 1024;

/// The right to change the files of a folder; ends when dropped, and with the process.
pub(super) struct FolderLock {
    folder: Arc<File>,
}

/// Waits for the right to change the files beside `file`. The folder itself is locked, so that nothing is left behind.
pub(super) async fn lock_folder(call: &Call, clock: &dyn Clock, file: &Path) -> Result<FolderLock, EffectError> {
    let folder = folder_of(file);
    let patience = Patience::new(call, clock, LOCK_PATIENCE);
    loop {
        let open = File::open(folder).map_err(|why| wrong("open", folder, &why).not_applied())?;
        match open.try_lock() {
            Ok(()) => return Ok(FolderLock { folder: Arc::new(open) }),
            Err(TryLockError::Error(why)) => return Err(wrong("lock", folder, &why).not_applied()),
            Err(TryLockError::WouldBlock) => {}
        }
        if !patience.pause().await.map_err(EffectError::not_applied)? {
            let message = format!("another deployer keeps the folder `{}` locked", folder.display());
            return Err(EffectError::new(ErrorKind::Unavailable, message)
                .hint(format!("see who holds it: fuser -v {}", folder.display()))
                .not_applied());
        }
    }
}

/// The whole text; none when there is no such file.
pub(super) fn read(file: &Path) -> Result<Option<String>, EffectError> {
    let text = fs::metadata(file).and_then(|found| {
        if found.len() > SIZE_LIMIT {
            return Err(io::Error::other("it is far too long to be one of deployer's"));
        }
        fs::read_to_string(file)
    });
    match text {
        Ok(text) => Ok(Some(text)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(wrong("read", file, &why).not_applied()),
    }
}

impl FolderLock {
    /// Puts the text in place of what is there.
    pub(super) async fn write(&self, file: &Path, text: &str) -> Result<(), EffectError> {
        let (file, text) = (file.to_owned(), text.to_owned());
        self.off_thread(move || {
            let new = beside(&file, "new");
            let written = File::create(&new).and_then(|mut draft| {
                draft.write_all(text.as_bytes())?;
                draft.sync_all()?;
                fs::rename(&new, &file)?;
                sync_folder(&file)
            });
            written.map_err(|why| {
                let _ = fs::remove_file(&new);
                wrong("write", &file, &why)
            })
        })
        .await
    }

    /// False when there was none.
    pub(super) async fn remove(&self, file: &Path) -> Result<bool, EffectError> {
        let file = file.to_owned();
        self.off_thread(move || match fs::remove_file(&file).and_then(|()| sync_folder(&file)) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(wrong("remove", &file, &why)),
        })
        .await
    }

    /// The lock lasts until the work is done, also when nobody waits for it any more.
    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EffectError> + Send + 'static,
    ) -> Result<T, EffectError> {
        let held = Arc::clone(&self.folder);
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        });
        done.await.unwrap_or_else(|error| Err(lost_thread(&error)))
    }
}

/// `FILE.ENDING`, in the same folder.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

fn wrong(doing: &str, path: &Path, why: &io::Error) -> EffectError {
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
    async fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kept");
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
