//! Sends simulated client traffic to the public address and records what it gets. Knows nothing of deploys.

use crate::world::sim::model::container::SimContainer;
use crate::world::sim::model::traffic_probe::HELD;
use crate::world::sim::sim_host::SimHost;

/// Shown as the image when a process outside the engine responds.
const OTHER_PROCESS: &str = "another process";
const GOOD: u16 = 200;

impl SimHost {
    /// Records what clients get until the given time, with everything as it is now.
    pub(crate) fn probe_until(&mut self, at: u64) {
        let Some(mut probe) = self.traffic_probe.take() else { return };
        let (port, path) = (probe.address.port, probe.address.path.clone());
        while probe.until_ms < at {
            let from = probe.until_ms;
            let mut to = at;
            let changes = self.containers.running().filter_map(|container| changes_after(container, from)).min();
            to = to.min(changes.unwrap_or(at));
            let answer = self.response_on_port_at(port, &path, from);
            let seen = answer
                .as_ref()
                .map(|answer| (answer.response.status, answer.image.as_deref().unwrap_or(OTHER_PROCESS)));
            let held = self.holds_requests(port, from);
            probe.record(from, to, if held { Some((GOOD, HELD)) } else { seen });
            if let Some(target) = self.dead_target(port, &path, from).filter(|_| probe.first_dead_target.is_none()) {
                probe.first_dead_target = Some((from, target));
            }
            probe.until_ms = to;
        }
        self.traffic_probe = Some(probe);
    }

    /// Records that a container was killed that would have exited by itself: requests in flight get no response.
    pub(crate) fn record_cut_off(&mut self, name: &str, at: u64) {
        let Some(probe) = &mut self.traffic_probe else { return };
        let port = probe.address.port;
        if self.containers.publisher(port).is_some_and(|(container, _)| container.name() == name) {
            probe.cut_off.push((at, name.to_owned()));
        }
    }
}

/// Returns when the container next changes its response by itself.
fn changes_after(container: &SimContainer, from: u64) -> Option<u64> {
    let started = container.started_at?;
    let behaviour = &container.behaviour;
    [Some(started + behaviour.boot_ms), behaviour.unhealthy_after_ms.map(|after| started + after)]
        .into_iter()
        .flatten()
        .filter(|at| *at > from)
        .min()
}
