//! The shared libraries of the running program, so that it can run in an image `FROM scratch`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Returns the libraries and the loader that are mapped into this process: the path of each, and the path in the image.
///
/// # Errors
/// When the mappings of the process cannot be read.
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
        // A program names its loader by a path that usually is a symbolic link, which an image from scratch lacks.
        if name.starts_with("ld-") {
            for folder in ["/lib64", "/lib"] {
                found.insert((path.clone(), PathBuf::from(folder).join(&name)));
            }
        }
        // A program asks for `libz.so.1`, but the mapping names the file behind that link.
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
