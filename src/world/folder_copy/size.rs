//! Measures what a folder holds, and identifies a folder.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::copier::open_folder;
use super::entry::kind_of;
use super::{DEPTH_LIMIT, step_error, stopped_error};
use crate::effect::{EffectError, ErrorKind};

/// The size of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderSize {
    /// The bytes of all files. A file with several names counts once.
    pub bytes: u64,
    /// The number of entries that are not folders.
    pub files: u64,
}

/// Measures a folder. Entries that vanish meanwhile do not count.
///
/// # Errors
///
/// Returns an error when a folder cannot be read or `stop` is set.
pub fn measure_folder(folder: &Path, stop: &AtomicBool) -> Result<FolderSize, EffectError> {
    let path = folder.as_os_str().as_encoded_bytes();
    let root = open_folder(folder).map_err(|why| step_error("open", path, why))?;
    let mut walk = Walk { stop, size: FolderSize::default(), seen: HashSet::new() };
    walk.folder(&root, 0).map_err(|why| match why {
        Errno::CANCELED => stopped_error(),
        Errno::LOOP => {
            let message = format!("`{}` is nested deeper than {DEPTH_LIMIT} folders", folder.display());
            EffectError::new(ErrorKind::Unsupported, message)
        }
        why => step_error("read", path, why),
    })?;
    Ok(walk.size)
}

/// Returns an id that distinguishes the folder from every other one on this machine while it exists. `None` when it
/// does not exist.
pub fn content_id(folder: &Path) -> Option<String> {
    let meta = std::fs::symlink_metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some(format!("{:x}-{:x}", meta.dev(), meta.ino()))
}

struct Walk<'a> {
    stop: &'a AtomicBool,
    size: FolderSize,
    /// Device and inode of the files with several names.
    seen: HashSet<(u64, u64)>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &OwnedFd, depth: usize) -> Result<(), Errno> {
        if depth > DEPTH_LIMIT {
            return Err(Errno::LOOP);
        }
        let mut folders = Vec::new();
        for entry in Dir::read_from(folder)? {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Errno::CANCELED);
            }
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            match kind_of(&stat) {
                b'd' => folders.push(name.to_owned()),
                kind => {
                    self.size.files += 1;
                    let is_first = stat.st_nlink == 1 || self.seen.insert((stat.st_dev, stat.st_ino));
                    if kind == b'f' && is_first {
                        self.size.bytes += stat.st_size as u64;
                    }
                }
            }
        }
        folders.iter().try_for_each(|name| self.subfolder(folder, name, depth))
    }

    fn subfolder(&mut self, folder: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Errno> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(()),
            Err(why) => Err(why),
            Ok(below) => self.folder(&below, depth + 1),
        }
    }
}
