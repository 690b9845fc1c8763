//! Copies the content of one file: shares it with the source where the file system can, else copies it with its holes.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

use super::{CHUNK, ContentDigest};

/// The unit in which file systems report allocated blocks, regardless of their block size.
const SECTOR: i64 = 512;
/// The size of one copy inside the kernel, which is how long a stop may have to wait.
const KERNEL_CHUNK: usize = 8 << 20;

/// The result of copying one file's content.
pub(super) struct CopiedContent {
    pub length: u64,
    /// Whether the content is shared with the source. Nothing was read then, so there is no digest.
    pub shared: bool,
    pub digest: Option<[u8; 32]>,
}

/// Copies the contents of files, one after the other.
pub(super) struct ContentCopier<'a> {
    buffer: Vec<u8>,
    digest: Option<ContentDigest>,
    /// Whether the file system may still support sharing.
    can_share: bool,
    /// Whether the kernel may still support copying between these files.
    kernel_can_copy: bool,
    /// Whether to let the kernel copy the current file.
    use_kernel_copy: bool,
    stop: &'a AtomicBool,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// Why a file's content could not be copied.
pub(super) enum CopyFailure {
    Stopped,
    Read(Errno),
    Write(Errno),
}

impl<'a> ContentCopier<'a> {
    pub(super) fn new(verify: bool, stop: &'a AtomicBool, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        let digest = verify.then(ContentDigest::default);
        let (can_share, kernel_can_copy, use_kernel_copy) = (true, true, false);
        Self { buffer: vec![0; CHUNK], digest, can_share, kernel_can_copy, use_kernel_copy, stop, progress }
    }

    /// Copies the content of an open file to another, which is new.
    pub(super) fn copy(&mut self, from: BorrowedFd, to: BorrowedFd, stat: &Stat) -> Result<CopiedContent, CopyFailure> {
        let size = stat.st_size as u64;
        if self.can_share && size > 0 {
            match ioctl_ficlone(to, from) {
                Ok(()) => {
                    (self.progress)(size);
                    return Ok(CopiedContent { length: size, shared: true, digest: None });
                }
                // The file systems differ, or cannot share: do not try again.
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => self.can_share = false,
                Err(Errno::NOSPC) => return Err(CopyFailure::Write(Errno::NOSPC)),
                Err(_) => {}
            }
        }
        // The bytes need not be compared, so the kernel can copy them. Setting that up costs more than to read and
        // write a file that fits into the buffer: for 20,000 files of 4 kB it took 18 s instead of 3 s.
        self.use_kernel_copy = self.digest.is_none() && self.kernel_can_copy && size > CHUNK as u64;
        let length = match stat.st_blocks.saturating_mul(SECTOR) < stat.st_size {
            true => self.with_holes(from, to, size)?,
            false => self.range(from, to, 0, u64::MAX)?,
        };
        let digest = self.digest.as_mut().map(|digest| digest.finish(length));
        Ok(CopiedContent { length, shared: false, digest })
    }

    fn with_holes(&mut self, from: BorrowedFd, to: BorrowedFd, size: u64) -> Result<u64, CopyFailure> {
        ftruncate(to, size).map_err(CopyFailure::Write)?;
        let mut at = 0;
        while let Some((start, end)) = data_after(from, at, size).map_err(CopyFailure::Read)? {
            at = end;
            self.range(from, to, start, end)?;
        }
        Ok(size)
    }

    /// Copies the bytes between two offsets. Returns where the copy ended, which is earlier at the end of the file.
    fn range(&mut self, from: BorrowedFd, to: BorrowedFd, start: u64, end: u64) -> Result<u64, CopyFailure> {
        let mut at = start;
        while at < end {
            if self.stop.load(Ordering::Relaxed) {
                return Err(CopyFailure::Stopped);
            }
            let remaining = usize::try_from(end - at).unwrap_or(usize::MAX);
            let moved = match self.kernel_copy(from, to, at, remaining)? {
                Some(moved) => moved,
                None => self.buffered_copy(from, to, at, remaining)?,
            };
            if moved == 0 {
                break;
            }
            at += moved as u64;
            (self.progress)(moved as u64);
        }
        Ok(at)
    }

    /// Lets the kernel copy. `None` where that is not wanted, or where the kernel cannot.
    fn kernel_copy(
        &mut self,
        from: BorrowedFd,
        to: BorrowedFd,
        at: u64,
        remaining: usize,
    ) -> Result<Option<usize>, CopyFailure> {
        if !self.use_kernel_copy {
            return Ok(None);
        }
        let (mut source, mut target) = (at, at);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), remaining.min(KERNEL_CHUNK)) {
            Ok(moved) => Ok(Some(moved)),
            Err(Errno::NOSPC) => Err(CopyFailure::Write(Errno::NOSPC)),
            Err(_) => {
                (self.kernel_can_copy, self.use_kernel_copy) = (false, false);
                Ok(None)
            }
        }
    }

    fn buffered_copy(
        &mut self,
        from: BorrowedFd,
        to: BorrowedFd,
        at: u64,
        remaining: usize,
    ) -> Result<usize, CopyFailure> {
        let room = remaining.min(self.buffer.len());
        let read = pread(from, &mut self.buffer[..room], at).map_err(CopyFailure::Read)?;
        let bytes = &self.buffer[..read];
        let mut written = 0;
        while written < read {
            written += pwrite(to, &bytes[written..], at + written as u64).map_err(CopyFailure::Write)?;
        }
        if let Some(digest) = &mut self.digest {
            digest.update(at, bytes);
        }
        Ok(read)
    }
}

/// Returns the next range of data at or after an offset. `None` when only a hole follows.
pub(super) fn data_after(file: BorrowedFd, at: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    if at >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system without holes has data everywhere.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(why) => return Err(why),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}
