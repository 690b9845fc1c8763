//! The shared libraries that this very program runs with, so that it can run in an image `FROM scratch`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every library, and the loader, that are mapped into this process: where each is, and where an image needs it.
///
/// # Errors
/// When the system does not tell.
pub fn libraries() -> std::io::Result<BTreeSet<(PathBuf, PathBuf)>> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mapped =
        maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| PathBuf::from(format!("/{path}"))));
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
        // Programs ask for `libz.so.1`; what is mapped is the file behind that link.
        for link in links_to(&path) {
            found.insert((path.clone(), link));
        }
        found.insert((path.clone(), path));
    }
    Ok(found)
}

fn links_to(path: &Path) -> Vec<PathBuf> {
    let Some(entries) = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return Vec::new() };
    let links = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.map(|link| link.path()).filter(|link| std::fs::canonicalize(link).is_ok_and(|real| real == path)).collect()
}
