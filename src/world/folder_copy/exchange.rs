//! Exchanges two folders.

use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::effect::{EffectError, ErrorKind};

/// Exchanges two folders of one file system atomically and durably.
///
/// # Errors
///
/// Returns an error when the file system cannot exchange them (nothing was changed then), or when the exchange cannot
/// be made durable.
pub fn exchange_folders(first: &Path, second: &Path) -> Result<(), EffectError> {
    let failed = |why: std::io::Error| {
        let message = format!("`{}` and `{}` cannot be exchanged: {why}", first.display(), second.display());
        EffectError::new(ErrorKind::Failed, message)
    };
    renameat_with(CWD, first, CWD, second, RenameFlags::EXCHANGE).map_err(|why| failed(why.into()).not_applied())?;
    for folder in [first.parent(), second.parent()].into_iter().flatten() {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}
