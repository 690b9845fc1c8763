//! Loads modules from the folder of the script.

use std::path::{Path, PathBuf};

use crate::script::source::SourceLoader;

/// The largest module that is read.
const LARGEST: u64 = 4 << 20;
/// How many levels below the script's folder are searched for similar names.
const DEPTH: usize = 3;

/// Loads modules from this folder.
pub struct FolderSources(pub PathBuf);

impl SourceLoader for FolderSources {
    fn module(&self, name: &str) -> Result<String, String> {
        let path = self.0.join(format!("{name}.rhai"));
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > LARGEST => return Err(format!("`{}` is too large", path.display())),
            Ok(_) => {}
            Err(_) => return Err(format!("no file `{}`", path.display())),
        }
        std::fs::read_to_string(&path).map_err(|error| format!("`{}`: {error}", path.display()))
    }

    fn known_modules(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.0, "", DEPTH, &mut names);
        names
    }
}

fn collect(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".rhai") {
            names.push(format!("{prefix}{stem}"));
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) && !name.starts_with('.') {
            collect(&entry.path(), &format!("{prefix}{name}/"), depth - 1, names);
        }
    }
}
