//! SCRIPT on the command line: a file, the name of an included script, or `-` for standard input.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::miette;

use super::command_error::CommandError;
use super::config::{io_error_text, not_text};
use super::folder_sources::FolderSources;
use crate::base::suggest::did_you_mean;
use crate::script::source::{SHIPPED, Source, SourceLoader};

/// A script and the loader of its modules.
pub struct ScriptFile {
    pub source: Source,
    pub loader: Arc<dyn SourceLoader>,
}

impl ScriptFile {
    /// Finds a script by its name on the command line.
    ///
    /// # Errors
    /// When there is no such script, or it cannot be read.
    pub fn find(name: &str) -> Result<Self, CommandError> {
        if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|error| {
                CommandError::usage(miette!("the script cannot be read from standard input: {error}"))
            })?;
            return Ok(Self::new("<stdin>", text, PathBuf::from(".")));
        }
        let path = Path::new(name);
        if path.is_file() {
            let unreadable = |why: String| CommandError::usage(miette!("script `{name}` cannot be read: {why}"));
            let bytes = std::fs::read(path).map_err(|error| unreadable(io_error_text(&error)))?;
            let text = String::from_utf8(bytes).map_err(|error| unreadable(not_text(error.utf8_error())))?;
            return Ok(Self::new(name, text, path.parent().unwrap_or(Path::new("")).to_owned()));
        }
        if let Some((name, text)) = shipped(name) {
            return Ok(Self::new(name, *text, PathBuf::from(".")));
        }
        if path.is_dir() {
            let help = "name a file in it, such as `FOLDER/deploy.rhai`";
            let code = "deployer::script::not_found";
            return Err(CommandError::usage(miette!(code = code, help = help, "`{name}` is a folder, not a script")));
        }
        let names = SHIPPED.iter().map(|(name, _)| *name);
        let shipped: Vec<&str> = names.clone().collect();
        let hint =
            did_you_mean(name, names).unwrap_or_else(|| format!("the included scripts are: {}", shipped.join(", ")));
        Err(CommandError::usage(miette!(
            code = "deployer::script::not_found",
            help = hint,
            "there is no script `{name}`"
        )))
    }

    /// Returns a script that is part of the program.
    pub fn of_text(name: &str, text: &str) -> Self {
        Self::new(name, text, PathBuf::from("."))
    }

    fn new(name: &str, text: impl Into<Arc<str>>, folder: PathBuf) -> Self {
        Self { source: Source::new(name, text), loader: Arc::new(FolderSources(folder)) }
    }
}

fn shipped(name: &str) -> Option<&'static (&'static str, &'static str)> {
    SHIPPED.iter().find(|(known, _)| *known == name || known.strip_suffix(".rhai") == Some(name))
}
