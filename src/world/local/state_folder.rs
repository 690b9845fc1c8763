//! The folder with the whole state of the local world, shared by all deployer processes on the machine. Knows paths,
//! atomic writes and the guard; not what the files mean.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::suggest::did_you_mean;
use crate::effect::container::name_not_valid;
use crate::effect::{EffectError, ErrorKind};

/// How long to wait for another deployer process that is changing the state. The longest such change is the start of a
/// container.
const GUARD_DEADLINE: Duration = Duration::from_secs(20);
const GUARD_POLL: Duration = Duration::from_millis(3);
/// Prefix of unfinished and discarded entries, which are not part of the state.
pub(crate) const UNFINISHED: &str = ".";
const OWNER_ONLY: u32 = 0o700;
/// Longer names would not fit a file name with its suffix.
const MAX_NAME: usize = 200;

/// The state folder.
#[derive(Clone, Debug)]
pub(crate) struct StateFolder(PathBuf);

/// Keeps other deployer processes from changing the state until it is dropped.
#[derive(Debug)]
pub(crate) struct StateGuard {
    _file: File,
}

impl StateFolder {
    /// Opens the state folder, creating it if needed.
    pub(crate) fn open(path: PathBuf) -> Result<Self, EffectError> {
        for name in ["containers", "images", "volumes", "networks", "locks", "epochs", "routes"] {
            let folder = path.join(name);
            // Logs and volumes may contain confidential data.
            let made = fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(&folder);
            made.map_err(|why| io_error("create", &folder, &why))?;
        }
        let path = path.canonicalize().map_err(|why| io_error("open", &path, &why))?;
        Ok(Self(path))
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub(crate) fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(crate) fn tags(&self) -> PathBuf {
        self.0.join("tags.json")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub(crate) fn networks(&self) -> PathBuf {
        self.0.join("networks")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    /// The epoch of the latest lock of each service; kept when the lock is released.
    pub(crate) fn epochs(&self) -> PathBuf {
        self.0.join("epochs")
    }

    pub(crate) fn routes(&self) -> PathBuf {
        self.0.join("routes")
    }

    /// Waits for exclusive access to change the state.
    ///
    /// # Errors
    /// Returns `unavailable` if another process does not release it in time.
    pub(crate) fn guard(&self) -> Result<StateGuard, EffectError> {
        let path = self.0.join("guard");
        let file =
            File::options().create(true).append(true).open(&path).map_err(|why| io_error("open", &path, &why))?;
        let deadline = Instant::now() + GUARD_DEADLINE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(StateGuard { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(GUARD_POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(EffectError::new(
                        ErrorKind::Unavailable,
                        format!("another process keeps the local state `{}` locked", self.0.display()),
                    )
                    .hint(format!("see who holds it: fuser -v {}", path.display()))
                    .not_applied());
                }
                Err(TryLockError::Error(why)) => return Err(io_error("lock", &path, &why)),
            }
        }
    }

    /// Returns the names of the finished entries in a folder of the state, without `.json`, sorted.
    pub(crate) fn names(&self, folder: &Path) -> Result<Vec<String>, EffectError> {
        let entries = fs::read_dir(folder).map_err(|why| io_error("read", folder, &why))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with(UNFINISHED))
            .map(|name| name.strip_suffix(".json").map(str::to_owned).unwrap_or(name))
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Returns the error for a failed file operation.
pub(crate) fn io_error(doing: &str, path: &Path, why: &io::Error) -> EffectError {
    let kind = match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    };
    let error = EffectError::new(kind, format!("cannot {doing} `{}`: {why}", path.display()));
    if kind == ErrorKind::DiskFull { error.hint(format!("make room: df -h {}", path.display())) } else { error }
}

/// Writes a file atomically: a reader sees either the old or the new content, even after a power failure.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EffectError> {
    temporary_json(path, value)?.persist(path).map(drop).map_err(|why| io_error("write", path, &why.error))
}

fn temporary_json(path: &Path, value: &impl Serialize) -> Result<tempfile::NamedTempFile, EffectError> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|why| EffectError::new(ErrorKind::Internal, format!("cannot write `{}`: {why}", path.display())))?;
    let write = || {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(path.parent().unwrap_or(path))?;
        file.write_all(&bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|why| io_error("write", path, &why))
}

/// Reads a file that [`write_json`] wrote, or returns `None` if it does not exist.
///
/// # Errors
/// Returns `failed`, naming the file, if it is damaged.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EffectError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(why) => return Err(io_error("read", path, &why)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|why| {
        EffectError::new(ErrorKind::Failed, format!("the state file `{}` is damaged: {why}", path.display()))
            .hint("restore the file, or stop the processes that belong to it and remove it")
            .not_applied()
    })
}

/// Checks a name against Docker's rule, which also makes it a safe file name.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), EffectError> {
    let fits = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if fits {
        return Ok(());
    }
    Err(name_not_valid(what, name))
}

/// Adds the known name that is like the wrong one, if there is one, instead of the error's own hint.
pub(crate) fn with_suggestion<'a>(
    error: EffectError,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> EffectError {
    match did_you_mean(name, known) {
        Some(suggestion) => error.hint(suggestion),
        None => error,
    }
}

/// Returns the current time as RFC 3339, UTC, with a fixed length, so that times sort as text.
pub(crate) fn instant_text() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

/// Returns a random id in hexadecimal digits.
pub(crate) fn random_id() -> Result<String, EffectError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|why| EffectError::new(ErrorKind::Internal, format!("no random numbers: {why}")).not_applied())?;
    Ok(hex(&bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert_eq!(read_json::<u32>(&path).unwrap(), None);
        write_json(&path, &7u32).unwrap();
        assert_eq!(read_json::<u32>(&path).unwrap(), Some(7));
        fs::write(&path, "{\"a\":").unwrap();
        let error = read_json::<u32>(&path).unwrap_err();
        assert!(error.message.contains("config.json"), "{error}");
    }

    #[test]
    fn only_one_process_has_the_guard() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path().into()).unwrap();
        let guard = state.guard().unwrap();
        let other = File::options().append(true).open(folder.path().join("guard")).unwrap();
        assert!(other.try_lock().is_err());
        drop(guard);
        assert!(other.try_lock().is_ok());
    }

    #[test]
    fn names_are_safe_file_names() {
        for name in ["web", "web-1.2_x", "0"] {
            check_name("container", name).unwrap();
        }
        for name in ["", ".", "..", "../x", "a/b", "-x", ".x", "a b", "ä"] {
            assert!(check_name("container", name).is_err(), "{name}");
        }
    }
}
