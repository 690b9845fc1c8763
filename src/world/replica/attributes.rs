//! What an entry is besides its content: read from one, put on another.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, futimens, lgetxattr, llistxattr, lsetxattr, readlinkat, utimensat,
};
use rustix::io::Errno;

use super::broken;
use super::digest::Head;
use crate::effect::EffectError;

/// Name and value of an extended attribute.
type Attribute = (Vec<u8>, Vec<u8>);

/// The kernel's own limits for the list of names and for one value.
const ATTRIBUTE_LIMIT: usize = 64 << 10;
/// What only the mounted file system can say, and which every file gets anew.
const NOT_COPIED: &[&[u8]] = &[b"security.selinux"];
/// Bits of a mode that can be set.
const PERMISSIONS: u32 = 0o7777;

/// One entry: an open file or folder, or a name in a folder for what is not opened.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Open(BorrowedFd<'a>),
    Named(BorrowedFd<'a>, &'a CStr),
}

impl Place<'_> {
    /// A path that leads to a name in a folder and does not follow it.
    fn path(folder: BorrowedFd<'_>, name: &CStr) -> CString {
        let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
        path.extend(name.to_bytes());
        CString::new(path).unwrap_or_default()
    }

    /// What is compared of it. `path` is where it is below the root.
    pub(super) fn head(self, stat: &Stat, path: &[u8]) -> Result<Head, EffectError> {
        let fail = |why| broken("read", path, why);
        let kind = kind_of(stat);
        let target = match self {
            Self::Named(folder, name) if kind == b'l' => {
                readlinkat(folder, name, Vec::new()).map_err(fail)?.into_bytes()
            }
            _ => Vec::new(),
        };
        Ok(Head {
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
        let listed = sized(&mut list, |room| match self {
            Self::Open(file) => flistxattr(file, room),
            Self::Named(folder, name) => llistxattr(Self::path(folder, name), room),
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
            sized(&mut value, |room| match self {
                Self::Open(file) => fgetxattr(file, name, room),
                Self::Named(folder, path) => lgetxattr(Self::path(folder, path), name, room),
            })?;
            attributes.push((name.to_vec(), value));
        }
        attributes.sort_unstable();
        Ok(attributes)
    }

    /// Puts owner, mode, attributes and times on it, in the order in which none undoes another.
    pub(super) fn dress(self, head: &Head, stat: &Stat) -> Result<(), EffectError> {
        let fail = |doing: &'static str| move |why| broken(doing, &head.path, why);
        let owner = (Some(Uid::from_raw(head.uid)), Some(Gid::from_raw(head.gid)));
        let mode = Mode::from_raw_mode(head.mode);
        match self {
            Self::Open(file) => {
                fchown(file, owner.0, owner.1).map_err(fail("give its owner to"))?;
                fchmod(file, mode).map_err(fail("give its mode to"))?;
            }
            Self::Named(folder, name) => {
                chownat(folder, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(fail("give its owner to"))?;
                if head.kind != b'l' {
                    chmodat(folder, name, mode, AtFlags::empty()).map_err(fail("give its mode to"))?;
                }
            }
        }
        for (name, value) in &head.attributes {
            match self {
                Self::Open(file) => fsetxattr(file, name.as_slice(), value, XattrFlags::empty()),
                Self::Named(folder, path) => {
                    lsetxattr(Self::path(folder, path), name.as_slice(), value, XattrFlags::empty())
                }
            }
            .map_err(fail("give its extended attributes to"))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
        };
        match self {
            Self::Open(file) => futimens(file, &times),
            Self::Named(folder, name) => utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
        .map_err(fail("give its times to"))
    }
}

/// Calls with more and more room until the answer fits.
fn sized(answer: &mut Vec<u8>, ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<(), Errno> {
    let mut room = [0; 512];
    match ask(&mut room) {
        Ok(length) => {
            answer.extend(&room[..length]);
            return Ok(());
        }
        Err(Errno::RANGE) => {}
        Err(why) => return Err(why),
    }
    answer.resize(ATTRIBUTE_LIMIT, 0);
    let length = ask(answer)?;
    answer.truncate(length);
    Ok(())
}

/// The letter of an entry's kind, as [`Head::kind`].
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

/// An open file or folder as a place.
pub(super) fn open_place(file: &impl AsFd) -> Place<'_> {
    Place::Open(file.as_fd())
}
