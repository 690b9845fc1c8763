//! The folder that holds the whole state of the local world, shared by every deployer process on the machine.
//! Knows paths, atomic writes and the guard; not what the files mean.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::suggest::did_you_mean;
use crate::effect::{EffectError, ErrorKind};

/// How long to wait for another deployer that is changing something; the longest such change is a container's start.
const GUARD_DEADLINE: Duration = Duration::from_secs(20);
const GUARD_POLL: Duration = Duration::from_millis(3);
/// What is being made or thrown away has such a name, and is no part of the state.
pub const UNFINISHED: &str = ".";
const OWNER_ONLY: u32 = 0o700;
/// As Docker: longer names do not fit a file name with its ending.
const LONGEST_NAME: usize = 200;

#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// Holds off every other deployer that wants to change something; until it is dropped.
#[derive(Debug)]
pub struct Guard {
    _file: File,
}

impl Folder {
    /// Opens the state, or begins an empty one.
    pub fn open(path: PathBuf) -> Result<Self, EffectError> {
        for name in ["containers", "images", "volumes", "networks", "locks", "epochs", "routes"] {
            let folder = path.join(name);
            // Logs and volumes hold what programs know.
            let made = fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(&folder);
            made.map_err(|why| io_error("create", &folder, &why))?;
        }
        let path = path.canonicalize().map_err(|why| io_error("open", &path, &why))?;
        Ok(Self(path))
    }

    pub fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }

    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub fn tags(&self) -> PathBuf {
        self.0.join("tags.json")
    }

    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    pub fn networks(&self) -> PathBuf {
        self.0.join("networks")
    }

    pub fn locks(&self) -> PathBuf {
        self.0.join("locks")
    }

    /// The number of the latest lock of each service; stays when the lock goes.
    pub fn epochs(&self) -> PathBuf {
        self.0.join("epochs")
    }

    pub fn routes(&self) -> PathBuf {
        self.0.join("routes")
    }

    /// Waits for the right to change the state.
    ///
    /// # Errors
    /// `unavailable` when another deployer does not let go.
    pub fn guard(&self) -> Result<Guard, EffectError> {
        let path = self.0.join("guard");
        let file =
            File::options().create(true).append(true).open(&path).map_err(|why| io_error("open", &path, &why))?;
        let deadline = Instant::now() + GUARD_DEADLINE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Guard { _file: file }),
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

    /// Names of the finished entries of one of the state's folders, without the ending `.json`, sorted.
    pub fn names(&self, folder: &Path) -> Result<Vec<String>, EffectError> {
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

/// The error for a failed file operation.
pub fn io_error(doing: &str, path: &Path, why: &io::Error) -> EffectError {
    let kind = match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    };
    let error = EffectError::new(kind, format!("cannot {doing} `{}`: {why}", path.display()));
    if kind == ErrorKind::DiskFull { error.hint(format!("make room: df -h {}", path.display())) } else { error }
}

/// Writes a file so that a reader sees the old or the new one, whole, even after a power failure.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EffectError> {
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

/// Reads a file that [`write_json`] wrote; none if there is none.
///
/// # Errors
/// `failed`, naming the file, when it is damaged.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, EffectError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(why) => return Err(io_error("read", path, &why)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|why| {
        EffectError::new(ErrorKind::Failed, format!("the state file `{}` is damaged: {why}", path.display()))
            .hint("restore the file, or stop what belongs to it and remove it")
            .not_applied()
    })
}

/// Holds a name to Docker's rule, so that it is a safe file name too.
pub fn check_name(what: &str, name: &str) -> Result<(), EffectError> {
    let fits = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if fits {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Invalid, format!("`{name}` cannot be the name of a {what}"))
        .hint("use letters, digits, `_`, `.` and `-`, and begin with a letter or digit")
        .not_applied())
}

/// The error for a name that nothing has.
pub fn not_found<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>, list: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("no {what} `{name}`"))
        .hint(did_you_mean(name, known).unwrap_or_else(|| list.to_owned()))
        .not_applied()
}

/// The present instant, RFC 3339, UTC, of equal length always, so that instants sort as texts.
pub fn instant_text() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

/// A random id in hexadecimal digits.
pub fn random_id() -> Result<String, EffectError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|why| EffectError::new(ErrorKind::Internal, format!("no random numbers: {why}")).not_applied())?;
    Ok(hex(&bytes))
}

pub fn hex(bytes: &[u8]) -> String {
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
    fn the_guard_lets_one_in() {
        let folder = tempfile::tempdir().unwrap();
        let state = Folder::open(folder.path().into()).unwrap();
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
