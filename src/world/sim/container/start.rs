//! Starts simulated containers and assigns their host ports.
//!
//! Faults: a port that is taken, a missing network, a program that cannot be started, too little memory.

use std::net::IpAddr;

use super::lifecycle::KILLED;
use crate::base::port_mapping::{PortMapping, Protocol};
use crate::effect::EffectError;
use crate::effect::container::{ContainerState, PublishedPort, container_cannot_start, port_taken};
use crate::effect::network::network_not_found;
use crate::world::sim::model::container::{PendingExit, SimContainer};
use crate::world::sim::model::containers::FIRST_EPHEMERAL_PORT;
use crate::world::sim::sim_host::SimHost;

const START_MS: u64 = 240;
const ANY_ADDRESS: &str = "0.0.0.0";

impl SimHost {
    pub(crate) fn start(&mut self, name: &str) -> Result<(), EffectError> {
        if self.containers.get(name).is_some_and(SimContainer::is_running) {
            return Ok(());
        }
        self.advance(START_MS);
        if let Some(container) = self.containers.get_mut(name) {
            container.restarts = 0;
        }
        let now = self.now();
        self.start_at(name, now).map_err(EffectError::not_applied)?;
        self.run_due_events();
        Ok(())
    }

    /// Starts a stopped container at the given time.
    pub(crate) fn start_at(&mut self, name: &str, at: u64) -> Result<(), EffectError> {
        self.probe_until(at);
        let Some(container) = self.containers.get(name) else { return Ok(()) };
        if let Some(network) = container.networks.keys().find(|network| !self.networks.contains(network)) {
            return Err(network_not_found(network));
        }
        if let Some(why) = &container.behaviour.fails_to_start {
            return Err(container_cannot_start(name, why));
        }
        let wanted = container.spec.ports.clone();
        let mut ports: Vec<PublishedPort> = Vec::new();
        for mapping in &wanted {
            let host_port = self.assign_host_port(name, mapping, &ports)?;
            ports.push(PublishedPort {
                address: mapping.address.map_or_else(|| ANY_ADDRESS.into(), |address| address.to_string()),
                host_port,
                container_port: mapping.container_port,
                protocol: mapping.protocol,
            });
        }
        let available = self.available_mb();
        let Some(container) = self.containers.get_mut(name) else { return Ok(()) };
        let behaviour = container.behaviour.clone();
        let errand = container.one_shot_program();
        let starved = behaviour.memory_mb > available.min(container.limit_mb().unwrap_or(u64::MAX));
        container.pending_exit = if starved {
            Some(PendingExit { at: at + behaviour.boot_ms / 2, exit_code: KILLED, oom: true, by_itself: true })
        } else {
            let ends = errand.map(|program| (program.takes_ms, program.exit_code));
            let dies = behaviour.dies_after_ms.map(|after| (after, behaviour.exit_code));
            ends.or(dies).map(|(after, exit_code)| PendingExit {
                at: at + after,
                exit_code,
                oom: false,
                by_itself: true,
            })
        };
        container.ports = ports;
        container.state = ContainerState::Running;
        container.started_at = Some(at);
        container.restart_at = None;
        container.oom_killed = false;
        container.write_log(&behaviour.log);
        Ok(())
    }

    /// Returns the host port for a mapping.
    fn assign_host_port(
        &mut self,
        name: &str,
        mapping: &PortMapping,
        own: &[PublishedPort],
    ) -> Result<u16, EffectError> {
        if mapping.host_port == 0 {
            for _ in FIRST_EPHEMERAL_PORT..u16::MAX {
                let port = self.containers.next_ephemeral_port();
                if self.port_holder(mapping, port, own).is_none() {
                    return Ok(port);
                }
            }
        } else if self.port_holder(mapping, mapping.host_port, own).is_none() {
            return Ok(mapping.host_port);
        }
        let port = mapping.host_port;
        let holder = self.port_holder(mapping, port, own);
        Err(port_taken(port, holder.as_deref(), &format!("container `{name}` cannot start")))
    }

    /// Returns what uses the port, for a message.
    fn port_holder(&self, mapping: &PortMapping, port: u16, own: &[PublishedPort]) -> Option<String> {
        let clashes = |taken: &PublishedPort| {
            taken.host_port == port && taken.protocol == mapping.protocol && overlap(mapping.address, &taken.address)
        };
        if own.iter().any(clashes) {
            return Some("this container itself".into());
        }
        if let Some(container) = self.containers.running().find(|container| container.ports.iter().any(clashes)) {
            return Some(format!("container `{}`", container.name()));
        }
        if let Some(service) = self.service_on_port(port) {
            return Some(format!("the route of `{service}`"));
        }
        let stranger = mapping.protocol == Protocol::Tcp && self.machine.foreign_listeners.contains_key(&port);
        stranger.then(|| "another process".into())
    }
}

/// Returns whether two listeners on the same port would clash. No address, and 0.0.0.0, stand for every address.
fn overlap(wanted: Option<IpAddr>, taken: &str) -> bool {
    match (wanted, taken.parse::<IpAddr>()) {
        (Some(wanted), Ok(taken)) => wanted.is_unspecified() || taken.is_unspecified() || wanted == taken,
        _ => true,
    }
}
