//! `container_archive`: the log of a container and how it fared, kept before it goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{S3Access, transfer_timeout};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::log_url::LogUrl;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Recovery, Request};

/// `container_archive`: stores the whole log of a container, and what the engine knows of it, with its stats while it
/// runs, as `.json` beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveContainer {
    pub container: ContainerRef,
    /// The log's address; with a slash at the end a folder or a log group, in which it is named after container and run.
    pub to: LogUrl,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces what is there, which is gone then. Default: that fails; a log stream is added to.
    #[serde(default)]
    pub overwrite: bool,
    /// Default 15 min.
    #[serde(default = "transfer_timeout")]
    pub timeout: DurationText,
}

/// At the end of the name of the facts that belong to a log.
pub const FACTS: &str = ".json";

impl Facts for ArchiveContainer {
    fn access(&self) -> Access {
        Access::Write
    }

    /// In a folder or group the run's own archive is found again and made anew; a single object that is there is refused.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.container, self.to)
    }
}

impl Request for ArchiveContainer {
    const KIND: &'static str = "container_archive";
    type Reply = Archived;
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The log.
    pub url: LogUrl,
    /// What the engine knows of the container.
    pub facts: LogUrl,
    /// Bytes of the log.
    pub size: u64,
    pub sha256: String,
}
