//! `volume_list`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::effect::request::request;

/// A named volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// The name.
    pub name: String,
    /// The driver, such as `local`.
    pub driver: String,
    /// The folder on the engine's host.
    pub mountpoint: String,
    /// The labels, deployer's included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Identifies the content, if the engine's files can be seen from here: `volume_swap` exchanges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
}

/// `volume_list`: lists volumes, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListVolumes {
    /// Only the one with exactly this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

request! {
    ListVolumes {
        kind: "volume_list",
        reply: Vec<Volume>,
        access: Read,
        subject: |list| list.name.clone().unwrap_or_default(),
    }
}
