//! Copies a folder with everything in it: owners, modes, times, links, holes, pipes, devices and extended attributes,
//! and compares the copy while it is made. Knows nothing of volumes, containers or engines.
//!
//! One thread walks the source and makes the copy. A second thread follows it and reads the copy back. Neither holds
//! more than a few blocks in memory, regardless of file sizes. Every name is opened relative to its folder and no link
//! is followed, so a program that writes to the source cannot redirect the copy.

mod content;
mod copier;
mod digest;
mod entry;
mod exchange;
mod progress;
mod size;
mod verifier;

pub use copier::{CopyRequest, CopySummary, copy_folder};
pub use digest::{ContentDigest, EntryMetadata, TreeDigest};
pub use exchange::exchange_folders;
pub use progress::CopyProgress;
pub use size::{FolderSize, content_id, measure_folder};

use rustix::io::Errno;

use crate::effect::{EffectError, ErrorKind};

/// How deep folders may nest. Each level keeps two files open.
const DEPTH_LIMIT: usize = 400;
/// The size of one read or write.
const CHUNK: usize = 256 << 10;

/// Returns the error of a failed step. `path` is relative to the copied folder.
fn step_error(step: &str, path: &[u8], why: Errno) -> EffectError {
    let kind = match why {
        Errno::NOSPC | Errno::DQUOT => ErrorKind::DiskFull,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Refused,
        Errno::NOENT => ErrorKind::NotFound,
        Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::Failed,
    };
    let why = std::io::Error::from(why);
    let error = EffectError::new(kind, format!("cannot {step} `{}`: {why}", display_path(path)));
    match kind {
        ErrorKind::DiskFull => error.hint("free space on the disk of the volumes: docker system df; df -h"),
        ErrorKind::Refused => error.hint("run deployer as the owner of the files, or as root"),
        _ => error,
    }
}

/// Formats a path below the root for messages.
fn display_path(path: &[u8]) -> String {
    if path.is_empty() { ".".into() } else { String::from_utf8_lossy(path).into_owned() }
}

fn stopped_error() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "the copy was stopped")
}
