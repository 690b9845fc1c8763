//! What is written down of a local image.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// `images/ID/config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// `sha256:...` over the configuration and all files.
    pub id: String,
    pub config: ImageConfig,
    pub created_at: String,
    /// Bytes of all its files.
    pub size: u64,
}

/// How the image's containers start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    pub environment: BTreeMap<String, String>,
    /// Absolute; empty is the root.
    pub working_dir: String,
    pub exposed: BTreeSet<u16>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub labels: BTreeMap<String, String>,
}
