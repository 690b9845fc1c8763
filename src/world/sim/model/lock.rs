//! Service locks and who holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::run_id::RunId;

/// A lock that a run holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimLock {
    /// The run that holds it.
    pub run: RunId,
    /// Whether the holder was killed.
    #[serde(default)]
    pub dead: bool,
    /// When the holder releases it.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

/// Locks by service.
pub(crate) type Locks = BTreeMap<String, SimLock>;

/// The epoch of the latest lock of each service; kept when the lock is released.
pub(crate) type Epochs = BTreeMap<String, u64>;
