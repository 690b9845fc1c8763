//! Waits until a simulated container has exited.
//!
//! Faults: a container that is still running at the deadline.

use super::lifecycle::KILLED;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Ended, WaitContainer};
use crate::world::sim::sim_clock::whole_ms;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn wait(&mut self, request: &WaitContainer) -> Result<Ended, EffectError> {
        let name = self.name_of(&request.container)?;
        let deadline = self.now() + whole_ms(request.timeout.0);
        loop {
            let container = self.find(&ContainerRef::new(name.clone()))?;
            if !container.is_active() {
                return Ok(Ended { exit_code: container.exit_code.unwrap_or_default() });
            }
            match container
                .pending_exit
                .map(|pending_exit| pending_exit.at)
                .or(container.restart_at)
                .filter(|at| *at <= deadline)
            {
                Some(at) => self.clock.advance_to(at),
                None => break,
            }
            if self.containers.get(&name).is_some_and(|container| container.pending_exit.is_some()) {
                self.run_due_events();
                let code = self.containers.get(&name).and_then(|container| container.exit_code);
                return Ok(Ended { exit_code: code.unwrap_or(KILLED) });
            }
            self.run_due_events();
        }
        self.clock.advance_to(deadline);
        Err(request.still_running(&name))
    }
}
