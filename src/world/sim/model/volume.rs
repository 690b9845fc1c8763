//! Named volumes and the databases in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::database::SimDatabase;

/// A volume: its labels, and its databases by their path in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimVolume {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Databases by path.
    pub databases: BTreeMap<String, SimDatabase>,
    /// Identifies the content: what `volume_swap` exchanges.
    pub content_id: String,
}

/// Volumes by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes(pub(crate) BTreeMap<String, SimVolume>);

impl Volumes {
    /// Creates the volume if it does not exist, as the engine does for a mount.
    pub(crate) fn ensure(&mut self, name: &str) {
        if !self.0.contains_key(name) {
            // Unique, because no other volume has the name.
            let volume = SimVolume { content_id: name.to_owned(), ..SimVolume::default() };
            self.0.insert(name.to_owned(), volume);
        }
    }
}
