//! Copies file trees, and resolves paths that must not leave a root. Knows nothing of images or containers.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::state_folder::io_error;
use crate::effect::{EffectError, ErrorKind};

/// Resolves an absolute path below `root`. `..` stops at the root. No component except the last may be a symbolic link,
/// since it could lead out of the root.
///
/// # Errors
/// Returns `invalid` for a symbolic link in the path.
pub(crate) fn inside(root: &Path, path: &str) -> Result<PathBuf, EffectError> {
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

/// Returns the path, absolute, without `.`, `..` and repeated slashes.
pub(crate) fn normal(path: &str) -> String {
    format!("/{}", parts(path).join("/"))
}

/// Copies one file, link or empty folder. Replaces an existing file and keeps an existing folder.
pub(crate) fn copy_entry(from: &Path, to: &Path, mode: Option<u32>) -> Result<(), EffectError> {
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
        return Err(io::Error::other("not a file, folder or link"));
    }
    fs::copy(from, to)?;
    match mode {
        Some(mode) => fs::set_permissions(to, Permissions::from_mode(mode)),
        None => Ok(()),
    }
}

/// Copies the content of a folder into another. `stop` is called before every entry.
///
/// # Errors
/// Returns `cancelled` if `stop` returns true.
pub(crate) fn copy_tree(from: &Path, to: &Path, stop: &dyn Fn() -> bool) -> Result<(), EffectError> {
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

/// Returns the names in a folder, sorted.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<std::ffi::OsString>, EffectError> {
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
