//! The shared libraries that this very program runs with, so that it can run in an image `FROM scratch`.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Paths of every library, and of the loader, that are mapped into this process.
///
/// # Errors
/// When the system does not tell.
pub fn libraries() -> std::io::Result<BTreeSet<PathBuf>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    Ok(maps
        .lines()
        .filter_map(|line| line.split_once('/').map(|(_, path)| PathBuf::from(format!("/{path}"))))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so")))
        .collect())
}
