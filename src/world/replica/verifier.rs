//! The thread that follows the copying one and reads back what it made.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat};
use rustix::io::pread;

use super::attributes::{Place, open_place};
use super::content::data_after;
use super::{CHUNK, ContentDigest, Head, TreeDigest, broken, shown};
use crate::effect::{EffectError, ErrorKind};

/// An entry of the copy that is ready to be compared.
pub(super) struct Finished {
    pub folder: Arc<OwnedFd>,
    /// None for the folder itself.
    pub name: Option<CString>,
    /// As the source has it.
    pub head: Head,
    /// Of the source's content; none where there is none, or where the file system shares it.
    pub content: Option<[u8; 32]>,
    /// The file of the copy that this must be another name of.
    pub inode: Option<u64>,
}

/// Compares everything that comes, until the other thread has no more.
pub(super) fn follow(finished: &Receiver<Finished>) -> Result<TreeDigest, EffectError> {
    let mut tree = TreeDigest::default();
    let mut reader = Reader { buffer: vec![0; CHUNK], digest: ContentDigest::default() };
    for entry in finished {
        let content = compare(&entry, &mut reader)?;
        tree.add(&entry.head, content);
    }
    Ok(tree)
}

/// The digest of the entry's content.
fn compare(entry: &Finished, reader: &mut Reader) -> Result<[u8; 32], EffectError> {
    let path = &entry.head.path;
    let fail = |why| broken("read the copy of", path, why);
    let Some(name) = &entry.name else {
        let stat = fstat(&*entry.folder).map_err(fail)?;
        alike(entry, &open_place(&*entry.folder).head(&stat, path)?)?;
        return Ok([0; 32]);
    };
    let stat = statat(&*entry.folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    if entry.inode.is_some_and(|inode| inode != stat.st_ino) {
        return Err(unlike(path, "it is no longer the same file as its other names"));
    }
    if entry.head.kind != b'f' {
        alike(entry, &Place::Named(entry.folder.as_fd(), name).head(&stat, path)?)?;
        return Ok([0; 32]);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&*entry.folder, name.as_c_str(), flags, Mode::empty()).map_err(fail)?;
    alike(entry, &open_place(&file).head(&stat, path)?)?;
    // Another name of a file that was compared.
    if let (Some(_), Some(content)) = (entry.inode, entry.content) {
        return Ok(content);
    }
    let content = reader.read(file.as_fd(), stat.st_size as u64).map_err(fail)?;
    if entry.content.is_some_and(|source| source != content) {
        return Err(unlike(path, "the content differs"));
    }
    Ok(content)
}

fn alike(entry: &Finished, copy: &Head) -> Result<(), EffectError> {
    match entry.head.difference(copy) {
        Some(what) => Err(unlike(&entry.head.path, &format!("the {what} differs"))),
        None => Ok(()),
    }
}

fn unlike(path: &[u8], why: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the copy of `{}` is not like its source: {why}", shown(path)))
        .hint("the disk may be failing; see the kernel's log: dmesg | tail")
}

struct Reader {
    buffer: Vec<u8>,
    digest: ContentDigest,
}

impl Reader {
    fn read(&mut self, file: BorrowedFd, size: u64) -> Result<[u8; 32], rustix::io::Errno> {
        let mut at = 0;
        while let Some((start, end)) = data_after(file, at, size)? {
            at = start;
            while at < end {
                let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
                let read = pread(file, &mut self.buffer[..room], at)?;
                if read == 0 {
                    return Ok(self.digest.finish(at));
                }
                self.digest.update(at, &self.buffer[..read]);
                at += read as u64;
            }
        }
        Ok(self.digest.finish(size))
    }
}
