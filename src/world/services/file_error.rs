//! Errors of file operations, with the fix as a hint.

use std::io;
use std::path::Path;

use super::error_text::root_cause;
use crate::effect::{EffectError, ErrorKind};

/// The error of an operation on a file. `action` is a participle: ``cannot be `read` ``, `written`, `listed`, `deleted`.
pub(crate) fn file_error(action: &str, path: &Path, error: &io::Error) -> EffectError {
    let path = path.display();
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Refused,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Failed,
    };
    let message = format!("`{path}` cannot be {action}: {}", root_cause(error));
    let file_error = EffectError::new(kind, message);
    match kind {
        ErrorKind::NotFound if action == "written" => {
            file_error.hint("the folder must exist: create it with `mkdir -p`")
        }
        ErrorKind::DiskFull => file_error.hint("free up disk space; see `df -h`"),
        _ => file_error,
    }
}
