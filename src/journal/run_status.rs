//! How a run stands, and what the process exits with for it. Knows no journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// No end is recorded: under way, or killed.
    Running,
    Succeeded,
    /// Failed, and everything it did was taken back (or it failed after `commit()`).
    Failed,
    /// Usage, configuration or script error; nothing was touched.
    Invalid,
    /// Could not be taken back.
    Stuck,
    /// Another run holds the lock.
    Locked,
    /// A killed run must be resumed or aborted first.
    Unfinished,
    /// Cancelled, and everything it did was taken back.
    Cancelled,
    /// Killed, and taken back later by `deployer abort`.
    Aborted,
    /// Was stuck; a person has done the rest.
    Resolved,
}

impl RunStatus {
    /// What the process exits with. These numbers are a contract with scripts and CI.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Running | Self::Failed | Self::Aborted | Self::Resolved => 1,
            Self::Succeeded => 0,
            Self::Invalid => 2,
            Self::Stuck => 3,
            Self::Locked => 4,
            Self::Unfinished => 5,
            Self::Cancelled => 130,
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
