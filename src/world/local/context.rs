//! A build context: the files of a folder, less what `.dockerignore` names. Reads only.

use std::fs;
use std::path::{Path, PathBuf};

use super::folder::io_error;
use crate::effect::{EffectError, ErrorKind};
use crate::world::dockerignore::Dockerignore;
use crate::world::path_pattern::PathPattern;

/// More than this is surely the wrong folder.
const MOST_ENTRIES: usize = 500_000;

#[derive(Debug)]
pub struct Context {
    folder: PathBuf,
    /// Paths relative to the folder, sorted, folders before what is in them.
    entries: Vec<String>,
    /// What `.dockerignore` took out, for better messages.
    ignored: Dockerignore,
}

impl Context {
    /// Lists the folder.
    ///
    /// # Errors
    /// `not_found` when there is no such folder.
    pub fn open(folder: &Path) -> Result<Self, EffectError> {
        if !folder.is_dir() {
            return Err(EffectError::new(
                ErrorKind::NotFound,
                format!("no build context: `{}` is not a folder", folder.display()),
            )
            .not_applied());
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
            if self.entries.len() > MOST_ENTRIES {
                return Err(EffectError::new(
                    ErrorKind::Invalid,
                    format!("the build context `{}` has more than {MOST_ENTRIES} files", self.folder.display()),
                )
                .hint("name what is not needed in `.dockerignore`"));
            }
            if is_folder && (!ignored || self.ignored.may_bring_back_below(&path)) {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    /// The entries that a source of a COPY names, each a path of the context; `.` is the folder itself.
    ///
    /// # Errors
    /// What is wrong with the source, for a message.
    pub fn select(&self, source: &str) -> Result<Vec<String>, String> {
        let mut parts: Vec<&str> = Vec::new();
        for part in source.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.pop().is_none() => return Err(format!("`{source}` lies outside the build context")),
                ".." => {}
                other => parts.push(other),
            }
        }
        let clean = parts.join("/");
        if clean.is_empty() {
            return Ok(vec![String::from(".")]);
        }
        let pattern = PathPattern::parse(&clean)?;
        let found: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| **entry == clean || pattern.matches(entry) || self.is_kept_folder(&clean, entry).is_some())
            .map(|entry| self.is_kept_folder(&clean, entry).unwrap_or_else(|| entry.clone()))
            .fold(Vec::new(), |mut found, entry| {
                if found.last() != Some(&entry) {
                    found.push(entry);
                }
                found
            });
        if found.is_empty() {
            return Err(if self.folder.join(&clean).exists() {
                format!("`{source}` is taken out of the build context by `.dockerignore`")
            } else {
                let near = crate::base::suggest::did_you_mean(&clean, self.entries.iter().map(String::as_str));
                let near = near.map(|near| format!("; {near}")).unwrap_or_default();
                format!("`{source}` is not in the build context `{}`{near}", self.folder.display())
            });
        }
        Ok(found)
    }

    /// A folder that is itself ignored but holds exceptions is there all the same.
    fn is_kept_folder(&self, clean: &str, entry: &str) -> Option<String> {
        let inside = entry.strip_prefix(clean).is_some_and(|rest| rest.starts_with('/'));
        (inside && self.ignored.is_ignored(clean)).then(|| clean.to_owned())
    }

    /// All entries below a folder of the context, relative to it.
    pub fn below<'a>(&'a self, folder: &'a str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        if folder == "." {
            return Box::new(self.entries.iter().map(String::as_str));
        }
        Box::new(self.entries.iter().filter_map(move |entry| entry.strip_prefix(folder)?.strip_prefix('/')))
    }

    pub fn full(&self, entry: &str) -> PathBuf {
        if entry == "." { self.folder.clone() } else { self.folder.join(entry) }
    }
}
