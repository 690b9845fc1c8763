//! The record of a local image.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// `images/ID/config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// `sha256:...` of the configuration and all files.
    pub(crate) id: String,
    pub(crate) config: ImageConfig,
    pub(crate) created_at: String,
    /// Size of all files, in bytes.
    pub(crate) size: u64,
}

/// How containers of the image are started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageConfig {
    pub(crate) environment: BTreeMap<String, String>,
    /// Absolute; empty for the root.
    pub(crate) working_dir: String,
    pub(crate) exposed: BTreeSet<u16>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}
