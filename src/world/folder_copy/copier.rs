//! Walks the source and makes the copy.

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

use super::content::{ContentCopier, CopyFailure};
use super::digest::EntryMetadata;
use super::entry::{EntryHandle, kind_of, open_handle};
use super::verifier::{self, CopiedEntry};
use super::{DEPTH_LIMIT, display_path, step_error, stopped_error};
use crate::effect::{EffectError, ErrorKind};

/// How many entries the verifying thread may lag behind. Each keeps a folder open.
const VERIFIER_LAG: usize = 64;

/// What to copy, and where to.
pub struct CopyRequest<'a> {
    /// The source folder.
    pub from: &'a Path,
    /// The target, an empty folder.
    pub to: &'a Path,
    /// Whether to read the copy back and compare it.
    pub verify: bool,
    /// Whether the source may change during the copy: entries that vanish are left out, files that grow are copied as
    /// they are.
    pub lenient: bool,
    /// Stops the copy when set.
    pub stop: &'a AtomicBool,
    /// Called with the number of bytes of every piece that was copied.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopySummary {
    /// The bytes of all files.
    pub bytes: u64,
    /// The number of entries that are not folders.
    pub files: u64,
    /// The part of `bytes` that source and copy share on the disk.
    pub shared: u64,
    /// The digest of the copy, when it was verified.
    pub digest: Option<String>,
}

/// Copies a folder with everything in it. The copy is on the disk when this returns.
///
/// # Errors
///
/// Returns `disk_full`, `refused` or `cancelled`; `conflict` when the source changed during the copy, and `failed` when
/// the copy differs from its source. Does not remove what was copied until then.
pub fn copy_folder(request: &CopyRequest) -> Result<CopySummary, EffectError> {
    let folder = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = |path: &Path| open(path, folder, Mode::empty()).map_err(|why| step_error("open", path_bytes(path), why));
    let (from, to) = (root(request.from)?, Arc::new(root(request.to)?));
    let entries = Dir::read_from(&*to)
        .and_then(|mut names| names.try_fold(0, |count, entry| entry.map(|_| count + 1)))
        .map_err(|why| step_error("read", path_bytes(request.to), why))?;
    // `.` and `..` are always there.
    if entries > 2 {
        return Err(EffectError::new(ErrorKind::Conflict, format!("`{}` is not empty", request.to.display())));
    }
    let (send, receive) = sync_channel(VERIFIER_LAG);
    let summary = std::thread::scope(|scope| {
        let verifier = request.verify.then(|| scope.spawn(move || verifier::verify_entries(&receive)));
        let mut copier = Copier {
            request,
            contents: ContentCopier::new(request.verify, request.stop, request.progress),
            verifier: request.verify.then_some(send),
            hard_links: HashMap::new(),
            summary: CopySummary::default(),
            path: Vec::new(),
        };
        let result = copier.folder(&from, &to, 0);
        let mut summary = std::mem::take(&mut copier.summary);
        // Closing the channel ends the other thread.
        drop(copier);
        let digest = verifier.map(|thread| {
            thread.join().unwrap_or_else(|_| Err(EffectError::new(ErrorKind::Internal, "the comparison failed")))
        });
        // A difference is the real error when the walk ended because the verifier stopped.
        summary.digest = digest.transpose()?.map(|digest| digest.text());
        result.map(|()| summary)
    })?;
    syncfs(&*to).map_err(|why| step_error("write", b"", why))?;
    Ok(summary)
}

fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// A file with several names, one of which was copied.
struct HardLink {
    folder: Arc<OwnedFd>,
    name: CString,
    inode: u64,
    digest: Option<[u8; 32]>,
    names_left: u64,
}

struct Copier<'a> {
    request: &'a CopyRequest<'a>,
    contents: ContentCopier<'a>,
    verifier: Option<SyncSender<CopiedEntry>>,
    /// By device and inode, until the last name was copied.
    hard_links: HashMap<(u64, u64), HardLink>,
    summary: CopySummary,
    /// The path of the current entry below the root.
    path: Vec<u8>,
}

impl Copier<'_> {
    /// Copies the content of an open folder into another, and applies its metadata.
    fn folder(&mut self, from: &OwnedFd, to: &Arc<OwnedFd>, depth: usize) -> Result<(), EffectError> {
        if depth > DEPTH_LIMIT {
            let message = format!("`{}` is nested deeper than {DEPTH_LIMIT} folders", display_path(&self.path));
            return Err(EffectError::new(ErrorKind::Unsupported, message));
        }
        let stat = fstat(from).map_err(|why| self.step_error("read", why))?;
        let metadata = open_handle(from).metadata(&stat, &self.path)?;
        let mut folders = Vec::new();
        for entry in Dir::read_from(from).map_err(|why| self.step_error("read", why))? {
            if self.request.stop.load(Ordering::Relaxed) {
                return Err(stopped_error());
            }
            let entry = entry.map_err(|why| self.step_error("read", why))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let parent_length = self.enter(name);
            let copied = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if kind_of(&stat) == b'd' => {
                    folders.push(name.to_owned());
                    Ok(())
                }
                Ok(stat) => self.entry(from, to, name, &stat),
                Err(why) => Err(self.step_error("read", why)),
            };
            self.check_vanished(copied)?;
            self.path.truncate(parent_length);
        }
        for name in folders {
            let parent_length = self.enter(&name);
            let copied = self.subfolder(from, to, &name, depth);
            self.check_vanished(copied)?;
            self.path.truncate(parent_length);
        }
        open_handle(&**to).apply(&metadata, &stat)?;
        self.send_to_verifier(CopiedEntry { folder: to.clone(), name: None, metadata, content: None, inode: None })
    }

    fn subfolder(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<(), EffectError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let from = openat(from, name, flags, Mode::empty()).map_err(|why| self.step_error("open", why))?;
        mkdirat(to, name, Mode::RWXU).map_err(|why| self.step_error("create", why))?;
        let to = openat(to, name, flags, Mode::empty()).map_err(|why| self.step_error("open", why))?;
        self.folder(&from, &Arc::new(to), depth + 1)
    }

    /// Copies an entry that is not a folder.
    fn entry(&mut self, from: &OwnedFd, to: &Arc<OwnedFd>, name: &CStr, stat: &Stat) -> Result<(), EffectError> {
        self.summary.files += 1;
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.hard_links.get_mut(&key) {
            linkat(&*first.folder, first.name.as_c_str(), &**to, name, AtFlags::empty())
                .map_err(|why| step_error("link", &self.path, why))?;
            let (content, inode) = (first.digest, Some(first.inode));
            first.names_left = first.names_left.saturating_sub(1);
            if first.names_left == 0 {
                self.hard_links.remove(&key);
            }
            if self.verifier.is_none() {
                return Ok(());
            }
            let metadata = EntryHandle::Named(from.as_fd(), name).metadata(stat, &self.path)?;
            return self.send_to_verifier(CopiedEntry {
                folder: to.clone(),
                name: Some(name.to_owned()),
                metadata,
                content,
                inode,
            });
        }
        let (metadata, content) = match kind_of(stat) {
            b'f' => self.file(from, to, name)?,
            _ => (self.special(from, to, name, stat)?, None),
        };
        if stat.st_nlink > 1 {
            let made = statat(&**to, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|why| self.step_error("read", why))?;
            self.hard_links.insert(
                key,
                HardLink {
                    folder: to.clone(),
                    name: name.to_owned(),
                    inode: made.st_ino,
                    digest: content,
                    names_left: stat.st_nlink.saturating_sub(1),
                },
            );
        }
        self.send_to_verifier(CopiedEntry {
            folder: to.clone(),
            name: Some(name.to_owned()),
            metadata,
            content,
            inode: None,
        })
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
    ) -> Result<(EntryMetadata, Option<[u8; 32]>), EffectError> {
        let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // A copy should not count as an access of the source. Only the file's owner may ask for that.
        let from = openat(from, name, reading | OFlags::NOATIME, Mode::empty())
            .or_else(|why| match why {
                Errno::PERM => openat(from, name, reading, Mode::empty()),
                why => Err(why),
            })
            .map_err(|why| self.step_error("open", why))?;
        let stat = fstat(&from).map_err(|why| self.step_error("read", why))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.changed_error());
        }
        let metadata = open_handle(&from).metadata(&stat, &self.path)?;
        let writing = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(to, name, writing, Mode::RUSR | Mode::WUSR).map_err(|why| self.step_error("create", why))?;
        let copied = self.contents.copy(from.as_fd(), to.as_fd(), &stat).map_err(|failure| match failure {
            CopyFailure::Stopped => stopped_error(),
            CopyFailure::Read(why) => self.step_error("read", why),
            CopyFailure::Write(why) => self.step_error("write the copy of", why),
        })?;
        let after = fstat(&from).map_err(|why| self.step_error("read", why))?;
        let state = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if !self.request.lenient && state(&after) != state(&stat) {
            return Err(self.changed_error());
        }
        open_handle(&to).apply(&metadata, &stat)?;
        self.summary.bytes += copied.length;
        self.summary.shared += if copied.shared { copied.length } else { 0 };
        Ok((metadata, copied.digest))
    }

    fn special(&self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<EntryMetadata, EffectError> {
        let metadata = EntryHandle::Named(from.as_fd(), name).metadata(stat, &self.path)?;
        match metadata.kind {
            b'l' => symlinkat(metadata.target.as_slice(), to, name),
            _ => mknodat(to, name, FileType::from_raw_mode(stat.st_mode), Mode::RUSR | Mode::WUSR, stat.st_rdev),
        }
        .map_err(|why| self.step_error("create", why))?;
        EntryHandle::Named(to.as_fd(), name).apply(&metadata, stat)?;
        Ok(metadata)
    }

    /// Appends a name to the current path, and returns the length to truncate it to afterwards.
    fn enter(&mut self, name: &CStr) -> usize {
        let parent_length = self.path.len();
        if parent_length > 0 {
            self.path.push(b'/');
        }
        self.path.extend(name.to_bytes());
        parent_length
    }

    /// Accepts that an entry vanished when the request is lenient.
    fn check_vanished(&self, copied: Result<(), EffectError>) -> Result<(), EffectError> {
        match copied {
            Err(error) if error.kind == ErrorKind::NotFound && self.request.lenient => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Err(self.changed_error()),
            other => other,
        }
    }

    fn send_to_verifier(&self, entry: CopiedEntry) -> Result<(), EffectError> {
        match &self.verifier {
            // The verifier has stopped because it found a difference.
            Some(sender) => sender.send(entry).map_err(|_| stopped_error()),
            None => Ok(()),
        }
    }

    fn step_error(&self, step: &str, why: Errno) -> EffectError {
        step_error(step, &self.path, why)
    }

    fn changed_error(&self) -> EffectError {
        EffectError::new(ErrorKind::Conflict, format!("`{}` changed during the copy", display_path(&self.path)))
            .hint("stop its writers, or set `while_written` to `\"pause\"` or `\"allow\"`")
    }
}

/// Opens a folder by its path.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
