//! The location of a database.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{database_damaged, database_not_found};
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;

/// A database file: on the machine that runs deployer, in a named volume, or as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseLocation {
    /// The path of the file: inside `volume`, or as `container` sees it, if one of them is given.
    pub path: String,
    /// The named volume that holds the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// A container that has the file on one of its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
}

impl DatabaseLocation {
    /// Returns the location of a file in a volume.
    pub fn in_volume(volume: impl Into<String>, path: impl Into<String>) -> Self {
        Self { path: path.into(), volume: Some(volume.into()), container: None }
    }

    /// Returns the location of a file on this machine.
    pub fn on_host(path: impl Into<String>) -> Self {
        Self { path: path.into(), volume: None, container: None }
    }

    /// Checks that at most one of `volume` and `container` is given.
    ///
    /// # Errors
    /// Fails if both are given.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.volume.is_some() && self.container.is_some() {
            return Err(EffectError::invalid(format!("`{self}`: `volume` and `container` cannot both be given")));
        }
        Ok(())
    }

    /// Returns the error for a database that does not exist.
    pub fn not_found(&self) -> EffectError {
        database_not_found(self)
    }

    /// Returns the error for a damaged database.
    pub fn damaged(&self) -> EffectError {
        database_damaged(self)
    }

    /// Returns the error for a file that is on none of the container's volumes.
    pub fn not_on_volume(&self, engine: &str) -> EffectError {
        EffectError::unsupported(format!("reading `{self}` in the file system of the container"), engine)
            .hint("keep the database on a volume: files in the container itself are deleted with the container")
    }

    /// Returns the file's name without its folder and its last suffix.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => name,
        }
    }
}

impl fmt::Display for DatabaseLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.volume, &self.container) {
            (Some(volume), _) => write!(f, "{volume}:{}", self.path),
            (None, Some(container)) => write!(f, "{container}:{}", self.path),
            (None, None) => f.write_str(&self.path),
        }
    }
}
