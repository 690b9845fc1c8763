//! `sqlite_writers`: the users of a database.

use serde::{Deserialize, Serialize};

use super::{DatabaseLocation, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::request::request;

/// `sqlite_writers`: finds the containers and processes that use a database, or could write to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindUsers {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    FindUsers {
        kind: "sqlite_writers",
        reply: DatabaseUsers,
        access: Read,
        deadline: timeout,
        is_safety_check: true,
        subject: location,
    }
}

/// The users of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseUsers {
    /// Identifies this file among all that are or were at this path; missing if there is no file.
    #[serde(default)]
    pub id: Option<String>,
    /// Whether a process has it open, or a running container could write to it.
    pub in_use: bool,
    /// Containers whose mounts hold the file.
    pub containers: Vec<MountUser>,
    /// Processes that have it open, if the machine's processes can be seen.
    pub processes: Vec<FileUser>,
    /// Other SQLite databases that processes of these containers have open, if the machine's processes can be seen.
    #[serde(default)]
    pub other_databases: Vec<OpenDatabase>,
}

impl DatabaseUsers {
    /// Describes the users for people.
    pub fn names(&self) -> Vec<String> {
        let containers = self.containers.iter().filter(|user| user.running && !user.read_only);
        let containers = containers.map(|user| format!("container `{}`", user.name));
        let processes = self.processes.iter().filter(|user| user.container.is_none());
        containers.chain(processes.map(|user| format!("process {} (`{}`)", user.pid, user.command))).collect()
    }
}

/// A container with the file on one of its mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountUser {
    /// The container's name.
    pub name: String,
    /// The container's id.
    pub id: String,
    /// Whether it is running.
    pub running: bool,
    /// Whether it can only read the file.
    pub read_only: bool,
}

/// A process with the file open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUser {
    /// The process id.
    pub pid: u32,
    /// Its command.
    pub command: String,
    /// The container that it runs in.
    #[serde(default)]
    pub container: Option<String>,
}

/// A database that a container has open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OpenDatabase {
    /// The container.
    pub container: String,
    /// The path, as the container sees it.
    pub path: String,
}
