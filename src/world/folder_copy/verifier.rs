//! Follows the copying thread and reads back what it made.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, statat};
use rustix::io::pread;

use super::content::data_after;
use super::entry::{EntryHandle, open_handle};
use super::{CHUNK, ContentDigest, EntryMetadata, TreeDigest, display_path, step_error};
use crate::effect::{EffectError, ErrorKind};

/// A copied entry that is ready to be compared.
pub(super) struct CopiedEntry {
    pub folder: Arc<OwnedFd>,
    /// `None` for the folder itself.
    pub name: Option<CString>,
    /// The metadata of the source.
    pub metadata: EntryMetadata,
    /// The digest of the source's content. `None` where there is no content, or where the file system shares it.
    pub content: Option<[u8; 32]>,
    /// The inode of the copy that this entry must be another name of.
    pub inode: Option<u64>,
}

/// Compares all entries, until the copying thread has no more.
pub(super) fn verify_entries(entries: &Receiver<CopiedEntry>) -> Result<TreeDigest, EffectError> {
    let mut tree = TreeDigest::default();
    let mut reader = Reader { buffer: vec![0; CHUNK], digest: ContentDigest::default() };
    for entry in entries {
        let content = compare(&entry, &mut reader)?;
        tree.add(&entry.metadata, content);
    }
    Ok(tree)
}

/// Compares an entry and returns the digest of its content.
fn compare(entry: &CopiedEntry, reader: &mut Reader) -> Result<[u8; 32], EffectError> {
    let path = &entry.metadata.path;
    let fail = |why| step_error("read the copy of", path, why);
    let Some(name) = &entry.name else {
        let stat = fstat(&*entry.folder).map_err(fail)?;
        expect_equal(entry, &open_handle(&*entry.folder).metadata(&stat, path)?)?;
        return Ok([0; 32]);
    };
    let stat = statat(&*entry.folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    if entry.inode.is_some_and(|inode| inode != stat.st_ino) {
        return Err(difference_error(path, "it is no longer the same file as its other names"));
    }
    if entry.metadata.kind != b'f' {
        expect_equal(entry, &EntryHandle::Named(entry.folder.as_fd(), name).metadata(&stat, path)?)?;
        return Ok([0; 32]);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(&*entry.folder, name.as_c_str(), flags, Mode::empty()).map_err(fail)?;
    expect_equal(entry, &open_handle(&file).metadata(&stat, path)?)?;
    // Another name of a file that was compared before.
    if let (Some(_), Some(content)) = (entry.inode, entry.content) {
        return Ok(content);
    }
    let content = reader.read(file.as_fd(), stat.st_size as u64).map_err(fail)?;
    if entry.content.is_some_and(|source| source != content) {
        return Err(difference_error(path, "the content differs"));
    }
    Ok(content)
}

fn expect_equal(entry: &CopiedEntry, copy: &EntryMetadata) -> Result<(), EffectError> {
    match entry.metadata.difference(copy) {
        Some(what) => Err(difference_error(&entry.metadata.path, &format!("the {what} differs"))),
        None => Ok(()),
    }
}

fn difference_error(path: &[u8], why: &str) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the copy of `{}` differs from its source: {why}", display_path(path)))
        .hint("the disk may be failing; check the kernel's log: dmesg | tail")
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
