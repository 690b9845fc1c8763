//! Where a database is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::container_ref::ContainerRef;

/// A database file: of the machine that runs deployer, in a named volume, or as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePlace {
    /// The file; inside `volume`, or as `container` sees it, when one of them is given.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// A container that has the file on one of its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
}

impl DatabasePlace {
    /// A file in a volume.
    pub fn in_volume(volume: impl Into<String>, path: impl Into<String>) -> Self {
        Self { path: path.into(), volume: Some(volume.into()), container: None }
    }

    /// A file of this machine.
    pub fn on_host(path: impl Into<String>) -> Self {
        Self { path: path.into(), volume: None, container: None }
    }

    /// The name of the file without its folder and its last suffix.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => name,
        }
    }
}

impl fmt::Display for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.volume, &self.container) {
            (Some(volume), _) => write!(f, "{volume}:{}", self.path),
            (None, Some(container)) => write!(f, "{container}:{}", self.path),
            (None, None) => f.write_str(&self.path),
        }
    }
}
