//! Two folders change places.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::effect::{EffectError, ErrorKind};

/// Exchanges two folders of one file system, all at once or not at all, and durably.
///
/// # Errors
/// When the file system cannot; nothing was changed then.
pub fn exchange(one: &Path, other: &Path) -> Result<(), EffectError> {
    let failed = |why: std::io::Error| {
        let message = format!("`{}` and `{}` cannot be exchanged: {why}", one.display(), other.display());
        EffectError::new(ErrorKind::Failed, message)
    };
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|why| failed(why.into()).not_applied())?;
    for folder in [one.parent(), other.parent()].into_iter().flatten() {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}
