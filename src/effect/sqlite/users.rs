//! `sqlite_writers`: who has a database.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DatabasePlace, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Request};

/// `sqlite_writers`: which containers and processes have a database, or could write to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindUsers {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

impl Facts for FindUsers {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn is_safety_check(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for FindUsers {
    const KIND: &'static str = "sqlite_writers";
    type Reply = DatabaseUsers;
}

/// Who has a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseUsers {
    /// Tells this file from every other one that is or was in its place; none when there is no file.
    #[serde(default)]
    pub id: Option<String>,
    /// Whether anybody has it open, or runs and could write to it.
    pub in_use: bool,
    /// Containers whose mounts hold the file.
    pub containers: Vec<MountUser>,
    /// Processes that have it open, where the machine's processes can be seen.
    pub processes: Vec<FileUser>,
}

impl DatabaseUsers {
    /// Those that it is in use by, for people.
    pub fn names(&self) -> Vec<String> {
        let containers = self.containers.iter().filter(|user| user.running && !user.read_only);
        let containers = containers.map(|user| format!("container `{}`", user.name));
        let processes = self.processes.iter().filter(|user| user.container.is_none());
        containers.chain(processes.map(|user| format!("process {} (`{}`)", user.pid, user.command))).collect()
    }
}

/// A container that has the file on one of its mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountUser {
    pub name: String,
    pub id: String,
    pub running: bool,
    pub read_only: bool,
}

/// A process that has the file open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUser {
    pub pid: u32,
    pub command: String,
    /// The container that it runs in.
    #[serde(default)]
    pub container: Option<String>,
}
