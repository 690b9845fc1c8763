//! Networks by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::effect::network::BUILT_IN_NETWORKS;

/// A network in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimNetwork {
    /// The driver, such as `bridge`.
    pub driver: String,
    /// Whether it has no access to the outside.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for SimNetwork {
    fn default() -> Self {
        Self { driver: "bridge".into(), internal: false, labels: BTreeMap::new() }
    }
}

/// Networks by name, with their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(pub(crate) BTreeMap<String, (String, SimNetwork)>);

impl Networks {
    pub(crate) fn contains(&self, name: &str) -> bool {
        BUILT_IN_NETWORKS.contains(&name) || self.0.contains_key(name)
    }
}
