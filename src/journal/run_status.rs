//! The status of a run and the exit code for it. Knows no journal.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Has no end: under way, or interrupted.
    Running,
    /// Ended without an error.
    Succeeded,
    /// Failed; all changes rolled back, up to the last `commit()`.
    Failed,
    /// Usage, configuration or script error; nothing was changed.
    Invalid,
    /// Could not be rolled back.
    Stuck,
    /// Another run holds the lock.
    Locked,
    /// An interrupted run must be resumed or aborted first.
    Unfinished,
    /// Cancelled; all changes rolled back, up to the last `commit()`.
    Cancelled,
    /// Interrupted, and rolled back later by `deployer abort`.
    Aborted,
    /// Was stuck or interrupted; an operator has cleaned up.
    Resolved,
}

impl RunStatus {
    /// Returns the exit code of the process. These numbers are a contract with scripts and CI.
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
