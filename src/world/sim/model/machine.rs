//! The machine under the containers: memory, disk, ports of other processes, environment variables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::behaviour::SimResponse;
use crate::effect::EffectError;

/// Resources of the machine. The default has 8 GB of memory with 1 GB in use, and 100 GB of disk with 60 GB free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimMachine {
    /// Total memory, in MB.
    pub memory_mb: u64,
    /// Memory used by everything except containers, in MB.
    pub memory_used_mb: u64,
    /// Total disk space, in MB.
    pub disk_mb: u64,
    /// Free disk space, in MB.
    pub disk_free_mb: u64,
    /// Ports that processes outside the engine listen on, and their responses.
    #[serde(alias = "strangers")]
    pub foreign_listeners: BTreeMap<u16, SimResponse>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
}

impl Default for SimMachine {
    fn default() -> Self {
        Self {
            memory_mb: 8192,
            memory_used_mb: 1024,
            disk_mb: 100 << 10,
            disk_free_mb: 60 << 10,
            foreign_listeners: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }
}

impl SimMachine {
    /// Takes up disk space for `what`.
    pub(crate) fn use_disk(&mut self, what: &str, size_mb: u64) -> Result<(), EffectError> {
        match self.disk_free_mb.checked_sub(size_mb) {
            Some(rest) => {
                self.disk_free_mb = rest;
                Ok(())
            }
            None => Err(EffectError::disk_full(&what).not_applied()),
        }
    }

    /// Frees disk space.
    pub(crate) fn free_disk(&mut self, size_mb: u64) {
        self.disk_free_mb = (self.disk_free_mb + size_mb).min(self.disk_mb);
    }
}
