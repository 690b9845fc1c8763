//! Stops and kills simulated containers.
//!
//! Faults: a container that ignores or outlasts the stop signal, one that is not running.

use super::lifecycle::KILLED;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{KillContainer, StopContainer, Stopped};
use crate::world::sim::model::container::{PendingExit, SimContainer};
use crate::world::sim::sim_clock::whole_ms;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn stop_container(&mut self, request: &StopContainer) -> Result<Stopped, EffectError> {
        let name = match self.name_of(&request.container) {
            Err(_) if request.missing_ok => return Ok(Stopped { exit_code: None, killed: false }),
            name => name?,
        };
        let at_once = request.signal.as_deref().is_some_and(is_kill);
        let active = self.containers.get(&name).is_some_and(SimContainer::is_active);
        let killed = active && self.stop(&name, whole_ms(request.grace.0), at_once);
        self.run_due_events();
        Ok(Stopped { exit_code: self.find(&ContainerRef::new(name))?.exit_code, killed })
    }

    pub(crate) fn kill(&mut self, request: &KillContainer) -> Result<(), EffectError> {
        let name = self.name_of(&request.container)?;
        let now = self.now();
        let Some(container) = self.containers.get_mut(&name).filter(|container| container.is_running()) else {
            return Err(request.not_running(&name));
        };
        if is_kill(&request.signal) {
            self.stop(&name, 0, true);
        } else if is_termination(&request.signal) && !container.behaviour.ignores_term {
            let (after, exit_code) = (container.behaviour.stops_in_ms, container.behaviour.stop_exit_code);
            container.pending_exit = Some(PendingExit { at: now + after, exit_code, oom: false, by_itself: false });
        }
        Ok(())
    }

    /// Sends the stop signal and, when the grace period ends, SIGKILL. Returns whether SIGKILL was needed.
    pub(crate) fn stop(&mut self, name: &str, grace_ms: u64, at_once: bool) -> bool {
        let now = self.now();
        let Some(container) = self.containers.get(name) else { return false };
        let behaviour = container.behaviour.clone();
        if !container.is_running() {
            let exit_code = container.exit_code.unwrap_or_default();
            self.record_exit(name, PendingExit { at: now, exit_code, oom: false, by_itself: false });
            return false;
        }
        let exits_in_time = !at_once && !behaviour.ignores_term && behaviour.stops_in_ms <= grace_ms;
        let (takes, exit_code) = match (at_once, exits_in_time) {
            (true, _) => (0, KILLED),
            (false, true) => (behaviour.stops_in_ms, behaviour.stop_exit_code),
            (false, false) => (grace_ms, KILLED),
        };
        if !exits_in_time && !behaviour.ignores_term {
            self.record_cut_off(name, now + takes);
        }
        self.clock.advance_to(now + takes);
        self.record_exit(name, PendingExit { at: now + takes, exit_code, oom: false, by_itself: false });
        !at_once && !exits_in_time
    }
}

fn is_kill(signal: &str) -> bool {
    matches!(signal, "SIGKILL" | "KILL" | "9")
}

fn is_termination(signal: &str) -> bool {
    matches!(signal.strip_prefix("SIG").unwrap_or(signal), "TERM" | "INT" | "QUIT" | "2" | "3" | "15")
}
