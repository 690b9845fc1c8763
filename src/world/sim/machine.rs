//! The machine under the containers: memory, disk, ports of strangers, environment. Knows nothing of images.
//!
//! Faults: too little memory (the newest container is killed for it), a full disk, a port taken by a stranger,
//! an environment variable or a secret that is not set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::behaviour::Page;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::Stats;
use crate::effect::host::{Disk, HostEffect, HostOutcome, Memory, PortState};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The host's figures. Default: 8 GB of memory with 1 GB in use, 100 GB of disk with 60 GB free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    pub memory_mb: u64,
    /// By everything but the containers.
    pub memory_used_mb: u64,
    pub disk_mb: u64,
    pub disk_free_mb: u64,
    /// Ports that processes outside the engine listen on, and what they answer.
    pub strangers: BTreeMap<u16, Page>,
    pub environment: BTreeMap<String, String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            memory_mb: 8192,
            memory_used_mb: 1024,
            disk_mb: 100 << 10,
            disk_free_mb: 60 << 10,
            strangers: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }
}

impl Machine {
    /// Takes room on the disk.
    pub(super) fn store(&mut self, size_mb: u64) -> Result<(), EffectError> {
        match self.disk_free_mb.checked_sub(size_mb) {
            Some(rest) => {
                self.disk_free_mb = rest;
                Ok(())
            }
            None => Err(EffectError::new(ErrorKind::DiskFull, "no space left on device")
                .hint("make room: docker system prune")
                .not_applied()),
        }
    }

    pub(super) fn give_back(&mut self, size_mb: u64) {
        self.disk_free_mb = (self.disk_free_mb + size_mb).min(self.disk_mb);
    }
}

impl SimHost {
    /// What a new process could get.
    pub(super) fn available_mb(&self) -> u64 {
        let used: u64 = self.containers.running().map(|container| container.memory_mb()).sum();
        self.machine.memory_mb.saturating_sub(self.machine.memory_used_mb + used)
    }

    /// What a container uses: its memory, and next to nothing else.
    pub(super) fn stats(&self, container: &ContainerRef) -> Result<Stats, EffectError> {
        let container = self.find(container)?;
        if !container.is_running() {
            return Err(super::containers::not_running(container.name()));
        }
        let limit = container.spec.mem_limit.map(|limit| limit.0);
        Ok(Stats { memory: container.memory_mb() << 20, memory_limit: limit, processes: 1, ..Stats::default() })
    }

    pub(super) fn ask_machine(&self, call: &Call, effect: &HostEffect) -> Result<HostOutcome, EffectError> {
        Ok(match effect {
            HostEffect::Memory(_) => HostOutcome::Memory(Memory {
                total_mb: self.machine.memory_mb,
                available_mb: Some(self.available_mb()),
            }),
            HostEffect::Disk(_) => {
                HostOutcome::Disk(Disk { total_mb: self.machine.disk_mb, available_mb: self.machine.disk_free_mb })
            }
            HostEffect::Port(request) => {
                let container =
                    self.containers.publisher(request.port).map(|(container, _)| container.name().to_owned());
                let free = container.is_none() && !self.machine.strangers.contains_key(&request.port);
                HostOutcome::Port(PortState { free, container })
            }
            HostEffect::Env(request) => HostOutcome::Env(self.machine.environment.get(&request.name).cloned()),
            HostEffect::Secret(request) => {
                call.vault.expose(&request.name)?;
                HostOutcome::Secret(())
            }
        })
    }
}
