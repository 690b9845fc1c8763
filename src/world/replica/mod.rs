//! Copies of folders with all that is in them: owners, modes, times, links, holes, pipes, devices, extended attributes;
//! compared as they are made. Knows nothing of volumes, containers or engines.
//!
//! The copying thread walks the source and makes the copy; a second one follows it and reads the copy back. Neither
//! holds more than a few blocks, whatever the size of a file. Every name is opened relative to its folder and no link
//! is followed, so that a program which writes to the source cannot lead the copy astray.

mod attributes;
mod content;
mod copier;
mod digest;
mod exchange;
mod measure;
mod told;
mod verifier;

pub use copier::{CopyOrder, Replica, copy};
pub use digest::{ContentDigest, Head, TreeDigest};
pub use exchange::exchange;
pub use measure::{Measure, content_id, measure};
pub use told::Told;

use rustix::io::Errno;

use crate::effect::{EffectError, ErrorKind};

/// How deep folders may nest: each level keeps two files open.
const DEPTH_LIMIT: usize = 400;
/// One read or write.
const CHUNK: usize = 256 << 10;

/// The error of a failed step; `path` is relative to the folder that is copied.
fn broken(doing: &str, path: &[u8], why: Errno) -> EffectError {
    let kind = match why {
        Errno::NOSPC | Errno::DQUOT => ErrorKind::DiskFull,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Refused,
        Errno::NOENT => ErrorKind::NotFound,
        Errno::OPNOTSUPP => ErrorKind::Unsupported,
        _ => ErrorKind::Failed,
    };
    let why = std::io::Error::from(why);
    let error = EffectError::new(kind, format!("cannot {doing} `{}`: {why}", shown(path)));
    match kind {
        ErrorKind::DiskFull => error.hint("make room on the disk of the volumes: docker system df; df -h"),
        ErrorKind::Refused => error.hint("run deployer as the user that the files belong to, or as root"),
        _ => error,
    }
}

/// A path below the root, as people read it.
fn shown(path: &[u8]) -> String {
    if path.is_empty() { ".".into() } else { String::from_utf8_lossy(path).into_owned() }
}

fn stopped() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "the copying was stopped")
}
