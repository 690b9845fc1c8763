//! The shared libraries that this very program runs with, so that it can run in an image `FROM scratch`.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Every library, and the loader, that are mapped into this process: where each is, and where an image needs it.
///
/// # Errors
/// When the system does not tell.
pub fn libraries() -> std::io::Result<BTreeSet<(PathBuf, PathBuf)>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mapped = maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| PathBuf::from(format!("/{path}"))));
    let mut found = BTreeSet::new();
    for path in mapped {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(".so") {
            continue;
        }
        // Programs name their loader by a path that is a link on most systems; an image from scratch has no links.
        if name.starts_with("ld-") {
            for folder in ["/lib64", "/lib"] {
                found.insert((path.clone(), PathBuf::from(folder).join(&name)));
            }
        }
        found.insert((path.clone(), path));
    }
    Ok(found)
}
