//! `container_archive`: stores the log and the state of a container before it is removed.

use serde::{Deserialize, Serialize};

use super::{S3Access, transfer_timeout};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::base::log_url::LogUrl;
use crate::effect::request::request;

/// `container_archive`: stores the whole log of a container, and beside it, as `.json`, what the engine knows of the
/// container, with its stats if it is running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveContainer {
    /// The container.
    pub container: ContainerRef,
    /// The address of the log. With a slash at the end, a folder or log group in which the log is named after
    /// container and run.
    pub to: LogUrl,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces an existing object, which is lost. Default: an existing object is an error, and a log stream is
    /// appended to.
    #[serde(default)]
    pub overwrite: bool,
    /// Default 15 min.
    #[serde(default = "transfer_timeout")]
    pub timeout: DurationText,
}

/// The suffix of the name of the facts that belong to a log.
pub const FACTS: &str = ".json";

request! {
    ArchiveContainer {
        kind: "container_archive",
        reply: Archived,
        access: Write,
        // In a folder or group the archive of this run is found and replaced; a single object that exists is refused.
        recovery: Repeat,
        deadline: timeout,
        interruptible: true,
        subject: |request| format!("{} -> {}", request.container, request.to),
    }
}

/// The archive of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// The address of the log.
    pub url: LogUrl,
    /// The address of what the engine knows of the container.
    pub facts: LogUrl,
    /// Bytes of the log.
    pub size: u64,
    /// SHA-256 of the log, in hexadecimal.
    pub sha256: String,
}
