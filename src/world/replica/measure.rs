//! How much is in a folder, and which folder it is.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::attributes::kind_of;
use super::copier::open_folder;
use super::{DEPTH_LIMIT, broken, stopped};
use crate::effect::{EffectError, ErrorKind};

/// The sum of a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// A file with several names counts once.
    pub bytes: u64,
    /// Names of everything but folders.
    pub files: u64,
}

/// Counts what is in a folder. What vanishes meanwhile does not count.
///
/// # Errors
/// When a folder cannot be read, or when it is told to stop.
pub fn measure(folder: &Path, stop: &AtomicBool) -> Result<Measure, EffectError> {
    let path = folder.as_os_str().as_encoded_bytes();
    let root = open_folder(folder).map_err(|why| broken("open", path, why))?;
    let mut walk = Walk { stop, measure: Measure::default(), seen: HashSet::new() };
    walk.folder(&root, 0).map_err(|why| match why {
        Errno::CANCELED => stopped(),
        Errno::LOOP => {
            let message = format!("`{}` is nested deeper than {DEPTH_LIMIT} folders", folder.display());
            EffectError::new(ErrorKind::Unsupported, message)
        }
        why => broken("read", path, why),
    })?;
    Ok(walk.measure)
}

/// Tells one folder from every other on this machine, as long as it is there.
pub fn content_id(folder: &Path) -> Option<String> {
    let meta = std::fs::symlink_metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some(format!("{:x}-{:x}", meta.dev(), meta.ino()))
}

struct Walk<'a> {
    stop: &'a AtomicBool,
    measure: Measure,
    /// Files with several names.
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
                    self.measure.files += 1;
                    let is_first = stat.st_nlink == 1 || self.seen.insert((stat.st_dev, stat.st_ino));
                    if kind == b'f' && is_first {
                        self.measure.bytes += stat.st_size as u64;
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
