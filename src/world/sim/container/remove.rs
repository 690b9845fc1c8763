//! Removes simulated containers.
//!
//! Faults: a container that does not exist, one that is still running.

use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::container::{RemoveContainer, Removed, container_is_running, container_not_found};
use crate::world::Call;
use crate::world::sim::sim_host::SimHost;

const REMOVE_MS: u64 = 10;

impl SimHost {
    pub(crate) fn remove_container(&mut self, call: &Call, request: &RemoveContainer) -> Result<Removed, EffectError> {
        let Some(container) = self.containers.find(&request.container) else {
            return if request.missing_ok {
                Ok(Removed { removed: false })
            } else {
                Err(container_not_found(&request.container))
            };
        };
        if request.only_own && container.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let name = container.name().to_owned();
        if container.is_active() && !request.force {
            return Err(container_is_running(&name));
        }
        let was_active = container.is_active();
        self.advance(REMOVE_MS);
        if was_active {
            self.record_cut_off(&name, self.now());
        }
        self.containers.remove(&name);
        Ok(Removed { removed: true })
    }
}
