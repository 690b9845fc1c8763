//! Trees of files: copying, and paths that may not leave a root. Knows nothing of images or containers.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::folder::io_error;
use crate::effect::{EffectError, ErrorKind};

/// The place of an absolute path below `root`. `..` stops at the root; no part on the way may be a link,
/// since a link can lead out of the root.
///
/// # Errors
/// `invalid` for a link on the way.
pub fn inside(root: &Path, path: &str) -> Result<PathBuf, EffectError> {
    let parts = parts(path);
    let mut full = root.to_owned();
    for (index, part) in parts.iter().enumerate() {
        full.push(part);
        if index + 1 < parts.len() && full.is_symlink() {
            return Err(EffectError::new(
                ErrorKind::Invalid,
                format!("`{path}` leads through a symbolic link, which may leave the image's folder"),
            )
            .not_applied());
        }
    }
    Ok(full)
}

fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts
}

/// The path, absolute, without `.`, `..` and doubled slashes.
pub fn normal(path: &str) -> String {
    format!("/{}", parts(path).join("/"))
}

/// Copies one file, link or empty folder. An existing file in its place is replaced, an existing folder kept.
pub fn copy_entry(from: &Path, to: &Path, mode: Option<u32>) -> Result<(), EffectError> {
    copy(from, to, mode).map_err(|why| io_error("copy", from, &why))
}

fn copy(from: &Path, to: &Path, mode: Option<u32>) -> io::Result<()> {
    let meta = from.symlink_metadata()?;
    let there = to.symlink_metadata().ok();
    if meta.is_dir() {
        if there.as_ref().is_some_and(|there| !there.is_dir()) {
            fs::remove_file(to)?;
        }
        fs::create_dir_all(to)?;
        return fs::set_permissions(to, Permissions::from_mode(mode.unwrap_or(meta.permissions().mode() & 0o7777)));
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    match there {
        Some(there) if there.is_dir() => {
            return Err(io::Error::other(format!("`{}` is a folder in the image", to.display())));
        }
        Some(_) => fs::remove_file(to)?,
        None => {}
    }
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !meta.is_file() {
        return Err(io::Error::other("it is neither a file, a folder nor a link"));
    }
    fs::copy(from, to)?;
    match mode {
        Some(mode) => fs::set_permissions(to, Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

/// Copies all that is in a folder into another. `stop` is asked before every entry.
///
/// # Errors
/// `cancelled` when `stop` says so.
pub fn copy_tree(from: &Path, to: &Path, stop: &dyn Fn() -> bool) -> Result<(), EffectError> {
    copy_entry(from, to, None)?;
    for entry in sorted(from)? {
        if stop() {
            return Err(EffectError::new(
                ErrorKind::Cancelled,
                format!("cancelled while copying `{}`", from.display()),
            ));
        }
        let (from, to) = (from.join(&entry), to.join(&entry));
        if from.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            copy_tree(&from, &to, stop)?;
        } else {
            copy_entry(&from, &to, None)?;
        }
    }
    Ok(())
}

/// The names in a folder, sorted.
pub fn sorted(folder: &Path) -> Result<Vec<std::ffi::OsString>, EffectError> {
    let entries = fs::read_dir(folder).map_err(|why| io_error("read", folder, &why))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|why| io_error("read", folder, &why))?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_its_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(inside(root, "/a/b").unwrap(), root.join("a/b"));
        assert_eq!(inside(root, "/../../etc/x").unwrap(), root.join("etc/x"));
        symlink("/etc", root.join("out")).unwrap();
        assert!(inside(root, "/out/passwd").is_err());
        assert_eq!(inside(root, "/out").unwrap(), root.join("out"));
    }
}
