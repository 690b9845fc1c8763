//! Questions about the machine: memory, disk, ports, environment variables and secrets.
//!
//! Faults: a secret that is not set.

use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::host::{Disk, HostEffect, HostOutcome, Memory, PortState};
use crate::world::Call;

impl SimHost {
    /// Returns the memory available to a new process, in MB.
    pub(super) fn available_mb(&self) -> u64 {
        let used: u64 = self.containers.running().map(|container| container.memory_mb()).sum();
        self.machine.memory_mb.saturating_sub(self.machine.memory_used_mb + used)
    }

    pub(super) fn host(&self, call: &Call, effect: &HostEffect) -> Result<HostOutcome, EffectError> {
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
                let free = container.is_none() && !self.machine.foreign_listeners.contains_key(&request.port);
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
