//! Reads the metadata of an entry and applies it to another.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, futimens, lgetxattr, llistxattr, lsetxattr, readlinkat, utimensat,
};
use rustix::io::Errno;

use super::digest::EntryMetadata;
use super::step_error;
use crate::effect::EffectError;

/// The name and value of an extended attribute.
type Attribute = (Vec<u8>, Vec<u8>);

/// The kernel's limit for the list of names and for one value.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;
/// Attributes that depend on the file system's mount. Every file gets its own.
const NOT_COPIED: &[&[u8]] = &[b"security.selinux"];
/// The bits of a mode that can be set.
const PERMISSIONS: u32 = 0o7777;

/// An entry: an open file or folder, or a name in a folder for an entry that is not opened.
#[derive(Clone, Copy)]
pub(super) enum EntryHandle<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a CStr),
}

impl EntryHandle<'_> {
    /// Returns a path to a name in an open folder that does not follow the name.
    fn path(folder: BorrowedFd<'_>, name: &CStr) -> CString {
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend(name.to_bytes());
        CString::new(path).unwrap_or_default()
    }

    /// Reads the entry's metadata. `path` is its path below the root.
    pub(super) fn metadata(self, stat: &Stat, path: &[u8]) -> Result<EntryMetadata, EffectError> {
        let fail = |why| step_error("read", path, why);
        let kind = kind_of(stat);
        let target = match self {
            Self::Named(folder, name) if kind == b'l' => {
                readlinkat(folder, name, Vec::new()).map_err(fail)?.into_bytes()
            }
            _ => Vec::new(),
        };
        Ok(EntryMetadata {
            path: path.to_vec(),
            kind,
            mode: if kind == b'l' { 0 } else { stat.st_mode & PERMISSIONS },
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            device: if matches!(kind, b'c' | b'b') { stat.st_rdev } else { 0 },
            target,
            attributes: self.attributes().map_err(fail)?,
        })
    }

    fn attributes(self) -> Result<Vec<Attribute>, Errno> {
        let mut list = Vec::new();
        let listed = read_sized(&mut list, |buffer| match self {
            Self::Open(file) => flistxattr(file, buffer),
            Self::Named(folder, name) => llistxattr(Self::path(folder, name), buffer),
        });
        match listed {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(why) => return Err(why),
        }
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !NOT_COPIED.contains(name));
        let mut attributes = Vec::new();
        for name in names {
            let mut value = Vec::new();
            read_sized(&mut value, |buffer| match self {
                Self::Open(file) => fgetxattr(file, name, buffer),
                Self::Named(folder, path) => lgetxattr(Self::path(folder, path), name, buffer),
            })?;
            attributes.push((name.to_vec(), value));
        }
        attributes.sort_unstable();
        Ok(attributes)
    }

    /// Applies owner, mode, attributes and times, in an order in which no step undoes another.
    pub(super) fn apply(self, metadata: &EntryMetadata, stat: &Stat) -> Result<(), EffectError> {
        let fail = |step: &'static str| move |why| step_error(step, &metadata.path, why);
        let owner = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
        let mode = Mode::from_raw_mode(metadata.mode);
        match self {
            Self::Open(file) => {
                fchown(file, owner.0, owner.1).map_err(fail("set the owner of"))?;
                fchmod(file, mode).map_err(fail("set the mode of"))?;
            }
            Self::Named(folder, name) => {
                chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).map_err(fail("set the owner of"))?;
                if metadata.kind != b'l' {
                    chmodat(folder, name, mode, AtFlags::empty()).map_err(fail("set the mode of"))?;
                }
            }
        }
        for (name, value) in &metadata.attributes {
            match self {
                Self::Open(file) => fsetxattr(file, name.as_slice(), value, XattrFlags::empty()),
                Self::Named(folder, path) => {
                    lsetxattr(Self::path(folder, path), name.as_slice(), value, XattrFlags::empty())
                }
            }
            .map_err(fail("set the extended attributes of"))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        };
        match self {
            Self::Open(file) => futimens(file, &times),
            Self::Named(folder, name) => utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(fail("set the times of"))
    }
}

/// Calls with a larger buffer until the result fits.
fn read_sized(result: &mut Vec<u8>, read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<(), Errno> {
    let mut buffer = [0; 512];
    match read(&mut buffer) {
        Ok(length) => {
            result.extend(&buffer[..length]);
            return Ok(());
        }
        Err(Errno::RANGE) => {}
        Err(why) => return Err(why),
    }
    result.resize(ATTRIBUTE_BYTES_MAX, 0);
    let length = read(result)?;
    result.truncate(length);
    Ok(())
}

/// Returns the letter of an entry's type, as in [`EntryMetadata::kind`].
pub(super) fn kind_of(stat: &Stat) -> u8 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => b'f',
        FileType::Directory => b'd',
        FileType::Symlink => b'l',
        FileType::Fifo => b'p',
        FileType::CharacterDevice => b'c',
        FileType::BlockDevice => b'b',
        FileType::Socket => b's',
        FileType::Unknown => b'?',
    }
}

/// Returns the handle of an open file or folder.
pub(super) fn open_handle(file: &impl AsFd) -> EntryHandle<'_> {
    EntryHandle::Open(file.as_fd())
}
