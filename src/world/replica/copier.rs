//! The walk through the source that makes the copy.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, linkat, mkdirat, mknodat, open, openat, statat, symlinkat,
    syncfs,
};
use rustix::io::Errno;

use super::attributes::{Place, kind_of, open_place};
use super::content::{Carrier, Halt};
use super::digest::Head;
use super::verifier::{self, Finished};
use super::{DEPTH_LIMIT, broken, shown, stopped};
use crate::effect::{EffectError, ErrorKind};

/// Entries that the comparing thread may lag behind: each keeps a folder open.
const LAG: usize = 64;

/// What to copy where.
pub struct CopyOrder<'a> {
    pub from: &'a Path,
    /// An empty folder.
    pub to: &'a Path,
    /// Reads the copy back and compares it.
    pub verify: bool,
    /// The source may change meanwhile: what vanishes is left out, what grows is copied as it is.
    pub lenient: bool,
    pub stop: &'a AtomicBool,
    /// Told of every stretch of bytes that came over.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    pub bytes: u64,
    pub files: u64,
    /// Of `bytes`, what both share on the disk.
    pub shared: u64,
    pub digest: Option<String>,
}

/// Copies a folder with all that is in it. What is there when this returns is on the disk.
///
/// # Errors
/// `disk_full`, `refused`, `cancelled`; `conflict` when the source was written to meanwhile, `failed` when the copy
/// is not like its source. What was made until then stays.
pub fn copy(order: &CopyOrder) -> Result<Replica, EffectError> {
    let folder = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = |path: &Path| open(path, folder, Mode::empty()).map_err(|why| broken("open", name_of(path), why));
    let (from, to) = (root(order.from)?, Arc::new(root(order.to)?));
    let is_empty = Dir::read_from(&*to)
        .and_then(|mut names| names.try_fold(0, |count, entry| entry.map(|_| count + 1)))
        .map_err(|why| broken("read", name_of(order.to), why))?;
    // `.` and `..`
    if is_empty > 2 {
        return Err(EffectError::new(ErrorKind::Conflict, format!("`{}` is not empty", order.to.display())));
    }
    let (send, receive) = sync_channel(LAG);
    let replica = std::thread::scope(|scope| {
        let verifier = order.verify.then(|| scope.spawn(move || verifier::follow(&receive)));
        let mut copier = Copier {
            order,
            carrier: Carrier::new(order.verify, order.stop, order.progress),
            finished: order.verify.then_some(send),
            linked: HashMap::new(),
            replica: Replica::default(),
            path: Vec::new(),
        };
        let walked = copier.folder(&from, &to, 0);
        let mut replica = std::mem::take(&mut copier.replica);
        // The end of the channel is the end of the other thread.
        drop(copier);
        let digest = verifier.map(|thread| {
            thread.join().unwrap_or_else(|_| Err(EffectError::new(ErrorKind::Internal, "comparing broke off")))
        });
        // What is unlike is the reason, if the walk ended for want of anybody to tell.
        replica.digest = digest.transpose()?.map(|digest| digest.text());
        walked.map(|()| replica)
    })?;
    syncfs(&*to).map_err(|why| broken("write", b"", why))?;
    Ok(replica)
}

fn name_of(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A file with several names, of which one was copied.
struct Linked {
    folder: Arc<OwnedFd>,
    name: CString,
    inode: u64,
    digest: Option<[u8; 32]>,
    names_left: u64,
}

struct Copier<'a> {
    order: &'a CopyOrder<'a>,
    carrier: Carrier<'a>,
    finished: Option<SyncSender<Finished>>,
    /// By device and inode, until their last name was seen.
    linked: HashMap<(u64, u64), Linked>,
    replica: Replica,
    /// Of the entry that is under way, below the root.
    path: Vec<u8>,
}

impl Copier<'_> {
    /// Copies what is in an open folder into another, and dresses that.
    fn folder(&mut self, from: &OwnedFd, to: &Arc<OwnedFd>, depth: usize) -> Result<(), EffectError> {
        if depth > DEPTH_LIMIT {
            let message = format!("`{}` is nested deeper than {DEPTH_LIMIT} folders", shown(&self.path));
            return Err(EffectError::new(ErrorKind::Unsupported, message));
        }
        let stat = fstat(from).map_err(|why| self.broken("read", why))?;
        let head = open_place(from).head(&stat, &self.path)?;
        let mut folders = Vec::new();
        for entry in Dir::read_from(from).map_err(|why| self.broken("read", why))? {
            if self.order.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let entry = entry.map_err(|why| self.broken("read", why))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let below = self.enter(name);
            let copied = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if kind_of(&stat) == b'd' => {
                    folders.push(name.to_owned());
                    Ok(())
                }
                Ok(stat) => self.entry(from, to, name, &stat),
                Err(why) => Err(self.broken("read", why)),
            };
            self.forgive(copied)?;
            self.path.truncate(below);
        }
        for name in folders {
            let below = self.enter(&name);
            let copied = self.subfolder(from, to, &name, depth);
            self.forgive(copied)?;
            self.path.truncate(below);
        }
        open_place(&**to).dress(&head, &stat)?;
        self.tell(Finished { folder: to.clone(), name: None, head, content: None, inode: None })
    }

    fn subfolder(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<(), EffectError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let from = openat(from, name, flags, Mode::empty()).map_err(|why| self.broken("open", why))?;
        mkdirat(to, name, Mode::RWXU).map_err(|why| self.broken("create", why))?;
        let to = openat(to, name, flags, Mode::empty()).map_err(|why| self.broken("open", why))?;
        self.folder(&from, &Arc::new(to), depth + 1)
    }

    /// Copies whatever is not a folder.
    fn entry(&mut self, from: &OwnedFd, to: &Arc<OwnedFd>, name: &CStr, stat: &Stat) -> Result<(), EffectError> {
        self.replica.files += 1;
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.linked.get_mut(&key) {
            linkat(&*first.folder, first.name.as_c_str(), &**to, name, AtFlags::empty())
                .map_err(|why| broken("link", &self.path, why))?;
            let (content, inode) = (first.digest, Some(first.inode));
            first.names_left = first.names_left.saturating_sub(1);
            if first.names_left == 0 {
                self.linked.remove(&key);
            }
            if self.finished.is_none() {
                return Ok(());
            }
            let head = Place::Named(from.as_fd(), name).head(stat, &self.path)?;
            return self.tell(Finished { folder: to.clone(), name: Some(name.to_owned()), head, content, inode });
        }
        let (head, content) = match kind_of(stat) {
            b'f' => self.file(from, to, name)?,
            _ => (self.special(from, to, name, stat)?, None),
        };
        if stat.st_nlink > 1 {
            let made = statat(&**to, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|why| self.broken("read", why))?;
            self.linked.insert(
                key,
                Linked {
                    folder: to.clone(),
                    name: name.to_owned(),
                    inode: made.st_ino,
                    digest: content,
                    names_left: stat.st_nlink.saturating_sub(1),
                },
            );
        }
        self.tell(Finished { folder: to.clone(), name: Some(name.to_owned()), head, content, inode: None })
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<(Head, Option<[u8; 32]>), EffectError> {
        let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // A copy is no use of the source; only its owner may ask for that.
        let from = openat(from, name, reading | OFlags::NOATIME, Mode::empty())
            .or_else(|why| match why {
                Errno::PERM => openat(from, name, reading, Mode::empty()),
                why => Err(why),
            })
            .map_err(|why| self.broken("open", why))?;
        let stat = fstat(&from).map_err(|why| self.broken("read", why))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.changed());
        }
        let head = open_place(&from).head(&stat, &self.path)?;
        let writing = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(to, name, writing, Mode::RUSR | Mode::WUSR).map_err(|why| self.broken("create", why))?;
        let carried = self.carrier.carry(from.as_fd(), to.as_fd(), &stat).map_err(|halt| match halt {
            Halt::Stopped => stopped(),
            Halt::Read(why) => self.broken("read", why),
            Halt::Write(why) => self.broken("write the copy of", why),
        })?;
        let after = fstat(&from).map_err(|why| self.broken("read", why))?;
        let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if !self.order.lenient && state(&after) != state(&stat) {
            return Err(self.changed());
        }
        open_place(&to).dress(&head, &stat)?;
        self.replica.bytes += carried.length;
        self.replica.shared += if carried.shared { carried.length } else { 0 };
        Ok((head, carried.digest))
    }

    fn special(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<Head, EffectError> {
        let head = Place::Named(from.as_fd(), name).head(stat, &self.path)?;
        match head.kind {
            b'l' => symlinkat(head.target.as_slice(), to, name),
            _ => mknodat(to, name, FileType::from_raw_mode(stat.st_mode), Mode::RUSR | Mode::WUSR, stat.st_rdev),
        }
        .map_err(|why| self.broken("create", why))?;
        Place::Named(to.as_fd(), name).dress(&head, stat)?;
        Ok(head)
    }

    fn enter(&mut self, name: &CStr) -> usize {
        let below = self.path.len();
        if below > 0 {
            self.path.push(b'/');
        }
        self.path.extend(name.to_bytes());
        below
    }

    /// What is gone by the time it is looked at was not there for a copy that does not mind.
    fn forgive(&self, copied: Result<(), EffectError>) -> Result<(), EffectError> {
        match copied {
            Err(error) if error.kind == ErrorKind::NotFound && self.order.lenient => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Err(self.changed()),
            other => other,
        }
    }

    fn tell(&self, finished: Finished) -> Result<(), EffectError> {
        match &self.finished {
            // Nobody listens once a difference was found.
            Some(sender) => sender.send(finished).map_err(|_| stopped()),
            None => Ok(()),
        }
    }

    fn broken(&self, doing: &str, why: Errno) -> EffectError {
        broken(doing, &self.path, why)
    }

    fn changed(&self) -> EffectError {
        EffectError::new(ErrorKind::Conflict, format!("`{}` was changed while it was copied", shown(&self.path)))
            .hint("stop who writes to it, or say how to go on: `while_written: \"pause\"` or `\"allow\"`")
    }
}

/// For a folder by its path, wherever this process stands.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
