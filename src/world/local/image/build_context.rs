//! A build context: the files of a folder, without those that `.dockerignore` excludes. Only reads.

use std::fs;
use std::path::{Path, PathBuf};

use crate::effect::image::build_context_not_found;
use crate::effect::{EffectError, ErrorKind};
use crate::world::docker_glob::docker_glob;
use crate::world::dockerignore::Dockerignore;
use crate::world::local::state_folder::io_error;

/// More entries than this mean that the folder is the wrong one.
const MAX_ENTRIES: usize = 500_000;

/// The files of a build context.
#[derive(Debug)]
pub(crate) struct BuildContext {
    folder: PathBuf,
    /// Paths relative to the folder, sorted, folders before their content.
    entries: Vec<String>,
    /// What `.dockerignore` excludes, for better messages.
    ignored: Dockerignore,
}

impl BuildContext {
    /// Lists the folder.
    ///
    /// # Errors
    /// Returns `not_found` if the folder does not exist.
    pub(crate) fn open(folder: &Path) -> Result<Self, EffectError> {
        if !folder.is_dir() {
            return Err(build_context_not_found(&folder.display()));
        }
        let ignored = match fs::read_to_string(folder.join(".dockerignore")) {
            Ok(text) => {
                Dockerignore::parse(&text).map_err(|why| EffectError::new(ErrorKind::Invalid, why).not_applied())?
            }
            Err(_) => Dockerignore::default(),
        };
        let mut context = Self { folder: folder.into(), entries: Vec::new(), ignored };
        context.walk("").map_err(EffectError::not_applied)?;
        Ok(context)
    }

    fn walk(&mut self, below: &str) -> Result<(), EffectError> {
        let folder = self.folder.join(below);
        let entries = fs::read_dir(&folder).map_err(|why| io_error("read", &folder, &why))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        for name in names {
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let full = self.folder.join(&path);
            let is_folder = full.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let ignored = self.ignored.is_ignored(&path);
            if !ignored {
                self.entries.push(path.clone());
            }
            if self.entries.len() > MAX_ENTRIES {
                return Err(EffectError::new(
                    ErrorKind::Invalid,
                    format!("the build context `{}` has more than {MAX_ENTRIES} files", self.folder.display()),
                )
                .hint("exclude what is not needed in `.dockerignore`"));
            }
            if is_folder && (!ignored || self.ignored.may_include_below(&path)) {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the entries that a source of `COPY` selects, as paths of the context; `.` is the folder itself.
    ///
    /// # Errors
    /// Returns a message if the source selects nothing or is outside the context.
    pub(crate) fn select(&self, source: &str) -> Result<Vec<String>, String> {
        let mut parts: Vec<&str> = Vec::new();
        for part in source.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return Err(format!("`{source}` is outside the build context")),
                ".." => {}
                other => parts.push(other),
            }
        }
        let clean = parts.join("/");
        if clean.is_empty() {
            return Ok(vec![String::from(".")]);
        }
        let pattern = docker_glob(&clean).map_err(|why| format!("`{source}` is not a valid pattern: {why}"))?;
        let found: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| **entry == clean || pattern.is_match(entry) || self.is_kept_folder(&clean, entry).is_some())
            .map(|entry| self.is_kept_folder(&clean, entry).unwrap_or_else(|| entry.clone()))
            .fold(Vec::new(), |mut found, entry| {
                if found.last() != Some(&entry) {
                    found.push(entry);
                }
                found
            });
        if found.is_empty() {
            return Err(if self.folder.join(&clean).exists() {
                format!("`{source}` is excluded from the build context by `.dockerignore`")
            } else {
                let near = crate::base::suggest::did_you_mean(&clean, self.entries.iter().map(String::as_str));
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                format!("`{source}` is not in the build context `{}`{near}", self.folder.display())
            });
        }
        Ok(found)
    }

    /// An ignored folder that contains exceptions is part of the context.
    fn is_kept_folder(&self, clean: &str, entry: &str) -> Option<String> {
        let inside = entry.strip_prefix(clean).is_some_and(|rest| rest.starts_with('/'));
        (inside && self.ignored.is_ignored(clean)).then(|| clean.to_owned())
    }

    /// Returns all entries below a folder of the context, relative to it.
    pub(crate) fn below<'a>(&'a self, folder: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        if folder == "." {
            return Box::new(self.entries.iter().map(String::as_str));
        }
        Box::new(self.entries.iter().filter_map(move |entry| entry.strip_prefix(folder)?.strip_prefix('/')))
    }

    pub(crate) fn full(&self, entry: &str) -> PathBuf {
        if entry == "." { self.folder.clone() } else { self.folder.join(entry) }
    }
}
