//! The content of one file: shared with the source where the file system can, else copied, with its holes.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

use super::{CHUNK, ContentDigest};

/// What a file system counts its blocks in, whatever their size.
const SECTOR: i64 = 512;
/// One step of a copy inside the kernel: how long a stop may have to wait.
const KERNEL_CHUNK: usize = 8 << 20;

/// How one file came over.
pub(super) struct Carried {
    pub length: u64,
    /// Shared with the source: nothing was read, so there is no digest.
    pub shared: bool,
    pub digest: Option<[u8; 32]>,
}

/// What copying contents needs from one file to the next.
pub(super) struct Carrier<'a> {
    buffer: Vec<u8>,
    digest: Option<ContentDigest>,
    /// Whether the file system may still be able to share.
    can_share: bool,
    can_copy_inside: bool,
    /// Whether it is to be tried with the file that is under way.
    copies_inside: bool,
    stop: &'a AtomicBool,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// Why a content did not come over.
pub(super) enum Halt {
    Stopped,
    Read(Errno),
    Write(Errno),
}

impl<'a> Carrier<'a> {
    pub(super) fn new(verify: bool, stop: &'a AtomicBool, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        let digest = verify.then(ContentDigest::default);
        let (can_share, can_copy_inside, copies_inside) = (true, true, false);
        Self { buffer: vec![0; CHUNK], digest, can_share, can_copy_inside, copies_inside, stop, progress }
    }

    /// Brings the content of one open file to another, which is new.
    pub(super) fn carry(&mut self, from: BorrowedFd, to: BorrowedFd, stat: &Stat) -> Result<Carried, Halt> {
        let size = stat.st_size as u64;
        if self.can_share && size > 0 {
            match ioctl_ficlone(to, from) {
                Ok(()) => {
                    (self.progress)(size);
                    return Ok(Carried { length: size, shared: true, digest: None });
                }
                // Of two file systems, or of none that shares: no use to ask again.
                Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => self.can_share = false,
                Err(Errno::NOSPC) => return Err(Halt::Write(Errno::NOSPC)),
                Err(_) => {}
            }
        }
        // Nobody wants to compare the bytes. To set it up costs more than to read and write what fits into the buffer: of
        // 20,000 files of 4 kB it made 18 s out of 3.
        self.copies_inside = self.digest.is_none() && self.can_copy_inside && size > CHUNK as u64;
        let length = match stat.st_blocks.saturating_mul(SECTOR) < stat.st_size {
            true => self.with_holes(from, to, size)?,
            false => self.range(from, to, 0, u64::MAX)?,
        };
        let digest = self.digest.as_mut().map(|digest| digest.finish(length));
        Ok(Carried { length, shared: false, digest })
    }

    fn with_holes(&mut self, from: BorrowedFd, to: BorrowedFd, size: u64) -> Result<u64, Halt> {
        ftruncate(to, size).map_err(Halt::Write)?;
        let mut at = 0;
        while let Some((start, end)) = data_after(from, at, size).map_err(Halt::Read)? {
            at = end;
            self.range(from, to, start, end)?;
        }
        Ok(size)
    }

    /// Copies what stands between two offsets; returns where it ended, which is earlier at the file's end.
    fn range(&mut self, from: BorrowedFd, to: BorrowedFd, start: u64, end: u64) -> Result<u64, Halt> {
        let mut at = start;
        while at < end {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let moved = match self.inside(from, to, at, left)? {
                Some(moved) => moved,
                None => self.through(from, to, at, left)?,
            };
            if moved == 0 {
                break;
            }
            at += moved as u64;
            (self.progress)(moved as u64);
        }
        Ok(at)
    }

    /// Without a look at the bytes. None where that is not wanted, or the kernel cannot.
    fn inside(&mut self, from: BorrowedFd, to: BorrowedFd, at: u64, left: usize) -> Result<Option<usize>, Halt> {
        if !self.copies_inside {
            return Ok(None);
        }
        let (mut source, mut target) = (at, at);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), left.min(KERNEL_CHUNK)) {
            Ok(moved) => Ok(Some(moved)),
            Err(Errno::NOSPC) => Err(Halt::Write(Errno::NOSPC)),
            Err(_) => {
                (self.can_copy_inside, self.copies_inside) = (false, false);
                Ok(None)
            }
        }
    }

    fn through(&mut self, from: BorrowedFd, to: BorrowedFd, at: u64, left: usize) -> Result<usize, Halt> {
        let room = left.min(self.buffer.len());
        let read = pread(from, &mut self.buffer[..room], at).map_err(Halt::Read)?;
        let bytes = &self.buffer[..read];
        let mut written = 0;
        while written < read {
            written += pwrite(to, &bytes[written..], at + written as u64).map_err(Halt::Write)?;
        }
        if let Some(digest) = &mut self.digest {
            digest.update(at, bytes);
        }
        Ok(read)
    }
}

/// The next stretch of data at or after an offset; none when only a hole follows.
pub(super) fn data_after(file: BorrowedFd, at: u64, size: u64) -> Result<Option<(u64, u64)>, Errno> {
    if at >= size {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes has data everywhere.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(why) => return Err(why),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}
