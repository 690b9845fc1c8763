//! Resource usage of simulated containers.

use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Stats, container_has_no_stats};
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    /// Returns what a container uses: its memory and one process.
    pub(crate) fn stats(&self, container: &ContainerRef) -> Result<Stats, EffectError> {
        let container = self.find(container)?;
        if !container.is_running() {
            return Err(container_has_no_stats(container.name()));
        }
        let limit = container.spec.mem_limit.map(|limit| limit.0);
        Ok(Stats { memory: container.memory_mb() << 20, memory_limit: limit, processes: 1, ..Stats::default() })
    }
}
