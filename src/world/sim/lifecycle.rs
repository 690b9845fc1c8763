//! The course of a container's life: start, death, the engine's restarts, stop. Knows nothing of requests.
//!
//! Faults: a port taken by a container or a stranger, a network that is gone, a program that cannot be started,
//! too little memory, a crash loop, a restart that finds its port taken.

use std::net::IpAddr;

use super::container::Fate;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::base::port_mapping::{PortMapping, Protocol};
use crate::effect::container::{ContainerState, PublishedPort, RestartPolicy};
use crate::effect::{EffectError, ErrorKind};

/// The engine waits this long before it restarts a container, and twice as long each time after.
const FIRST_RESTART_MS: u64 = 100;
const LONGEST_RESTART_MS: u64 = 60_000;
/// Who ran this long starts anew with the first pause.
const STEADY_MS: u64 = 10_000;
/// Of a process that SIGKILL ended.
pub(super) const KILLED: i64 = 137;
/// Of a container whose restart failed.
const CANNOT_START: i64 = 128;
const EVERYWHERE: &str = "0.0.0.0";
/// The first port that the engine chooses by itself.
pub(super) const FIRST_CHOSEN_PORT: u16 = 32_768;

/// What happens next to a container.
#[derive(Clone, Copy)]
enum Event {
    Death(Fate),
    Restart(u64),
}

impl SimHost {
    /// Lets everything happen that was due until now, in order.
    pub(super) fn settle(&mut self) {
        let now = self.now();
        while let Some((name, event)) = self.next_event(now) {
            match event {
                Event::Death(fate) => self.end(&name, fate),
                Event::Restart(at) => {
                    if self.boot(&name, at).is_err() {
                        self.end(&name, Fate { at, exit_code: CANNOT_START, oom: false, own: false });
                    }
                }
            }
        }
        self.visit_until(now);
    }

    fn next_event(&self, now: u64) -> Option<(String, Event)> {
        self.containers
            .all()
            .filter_map(|container| match (container.fate, container.restart_at) {
                (Some(fate), _) if fate.at <= now => Some((fate.at, container, Event::Death(fate))),
                (None, Some(at)) if at <= now => Some((at, container, Event::Restart(at))),
                _ => None,
            })
            .min_by_key(|(at, container, _)| (*at, container.number))
            .map(|(_, container, event)| (container.name().to_owned(), event))
    }

    /// Starts a stopped container at that instant.
    pub(super) fn boot(&mut self, name: &str, at: u64) -> Result<(), EffectError> {
        self.visit_until(at);
        let Some(container) = self.containers.get(name) else { return Ok(()) };
        if let Some(network) = container.networks.keys().find(|network| !self.networks.contains(network)) {
            return Err(EffectError::new(ErrorKind::NotFound, format!("network `{network}` does not exist"))
                .hint(format!("docker network create {network}")));
        }
        if let Some(why) = &container.behaviour.fails_to_start {
            return Err(EffectError::new(ErrorKind::Failed, format!("container `{name}` cannot be started: {why}")));
        }
        let wanted = container.spec.ports.clone();
        let mut ports: Vec<PublishedPort> = Vec::new();
        for mapping in &wanted {
            let host_port = self.claim(mapping, &ports)?;
            ports.push(PublishedPort {
                address: mapping.address.map_or_else(|| EVERYWHERE.into(), |address| address.to_string()),
                host_port,
                container_port: mapping.container_port,
                protocol: mapping.protocol,
            });
        }
        let available = self.available_mb();
        let Some(container) = self.containers.get_mut(name) else { return Ok(()) };
        let behaviour = container.behaviour.clone();
        let errand = container.errand();
        let starved = behaviour.memory_mb > available.min(container.limit_mb().unwrap_or(u64::MAX));
        container.fate = if starved {
            Some(Fate { at: at + behaviour.boot_ms / 2, exit_code: KILLED, oom: true, own: true })
        } else {
            let ends = errand.map(|program| (program.takes_ms, program.exit_code));
            let dies = behaviour.dies_after_ms.map(|after| (after, behaviour.exit_code));
            ends.or(dies).map(|(after, exit_code)| Fate { at: at + after, exit_code, oom: false, own: true })
        };
        container.ports = ports;
        container.state = ContainerState::Running;
        container.started_at = Some(at);
        container.restart_at = None;
        container.oom_killed = false;
        container.write_log(&behaviour.log);
        Ok(())
    }

    /// The host's port for a mapping, if nobody has it.
    fn claim(&mut self, mapping: &PortMapping, own: &[PublishedPort]) -> Result<u16, EffectError> {
        if mapping.host_port == 0 {
            for _ in FIRST_CHOSEN_PORT..u16::MAX {
                let port = self.containers.choose_port();
                if self.holder(mapping, port, own).is_none() {
                    return Ok(port);
                }
            }
        } else if self.holder(mapping, mapping.host_port, own).is_none() {
            return Ok(mapping.host_port);
        }
        let port = mapping.host_port;
        let holder = self.holder(mapping, port, own).unwrap_or_default();
        Err(EffectError::new(ErrorKind::PortTaken, format!("port {port} is taken{holder}"))
            .hint(format!("choose another port, or see who has it: ss -ltnp 'sport = :{port}'")))
    }

    /// Who has the port, as the end of a sentence.
    fn holder(&self, mapping: &PortMapping, port: u16, own: &[PublishedPort]) -> Option<String> {
        let clashes = |taken: &PublishedPort| {
            taken.host_port == port && taken.protocol == mapping.protocol && overlap(mapping.address, &taken.address)
        };
        if own.iter().any(clashes) {
            return Some(" by this container itself".into());
        }
        if let Some(container) = self.containers.running().find(|container| container.ports.iter().any(clashes)) {
            return Some(format!(" by container `{}`", container.name()));
        }
        if let Some(service) = self.routed_port(port) {
            return Some(format!(" by the route of `{service}`"));
        }
        let stranger = mapping.protocol == Protocol::Tcp && self.machine.strangers.contains_key(&port);
        stranger.then(|| " by another process".into())
    }

    /// Ends a container, and lets the engine start it again where its policy says so.
    pub(super) fn end(&mut self, name: &str, fate: Fate) {
        self.visit_until(fate.at);
        if fate.own {
            self.leave_work(name);
        }
        let Some(container) = self.containers.get_mut(name) else { return };
        if fate.own {
            let last_words = container.behaviour.last_words.clone();
            container.write_log(&last_words);
        }
        container.state = ContainerState::Exited;
        container.exit_code = Some(fate.exit_code);
        container.oom_killed = fate.oom;
        container.ports.clear();
        container.fate = None;
        container.restart_at = None;
        if container.started_at.is_some_and(|started| fate.at.saturating_sub(started) >= STEADY_MS) {
            container.restarts = 0;
        }
        let again = match container.spec.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { attempts } => {
                fate.exit_code != 0 && (attempts == 0 || container.restarts < attempts)
            }
        };
        if fate.own && again {
            let pause = FIRST_RESTART_MS.saturating_mul(1 << container.restarts.min(16)).min(LONGEST_RESTART_MS);
            container.state = ContainerState::Restarting;
            container.restart_at = Some(fate.at + pause);
            container.restarts += 1;
        }
    }

    /// What a container's program leaves in the databases of its volumes when it succeeds. One that names a volume means
    /// its copies as well.
    fn leave_work(&mut self, name: &str) {
        let Some(container) = self.containers.get(name) else { return };
        let Some(program) = container.errand().filter(|program| program.exit_code == 0) else { return };
        let mounted: Vec<String> = container.spec.volumes.iter().map(|mount| mount.source.clone()).collect();
        for (place, sql) in program.sql {
            let Some((volume, path)) = place.split_once(':') else { continue };
            for source in &mounted {
                let of = self.volumes.0.get(source).and_then(|there| there.labels.get(labels::COPY_OF));
                if source == volume || of.is_some_and(|of| of == volume) {
                    // A statement that fails here failed in the dry run before.
                    drop(self.run_sql(&format!("{source}:{path}"), &sql));
                }
            }
        }
    }

    /// Sends the stop signal and, when the grace is over, SIGKILL. Tells whether that was needed.
    pub(super) fn stop(&mut self, name: &str, grace_ms: u64, at_once: bool) -> bool {
        let now = self.now();
        let Some(container) = self.containers.get(name) else { return false };
        let behaviour = container.behaviour.clone();
        if !container.is_running() {
            let exit_code = container.exit_code.unwrap_or_default();
            self.end(name, Fate { at: now, exit_code, oom: false, own: false });
            return false;
        }
        let obeys = !at_once && !behaviour.ignores_term && behaviour.stops_in_ms <= grace_ms;
        let (takes, exit_code) = match (at_once, obeys) {
            (true, _) => (0, KILLED),
            (false, true) => (behaviour.stops_in_ms, behaviour.stop_exit_code),
            (false, false) => (grace_ms, KILLED),
        };
        if !obeys && !behaviour.ignores_term {
            self.cut_off(name, now + takes);
        }
        self.clock.advance_to(now + takes);
        self.end(name, Fate { at: now + takes, exit_code, oom: false, own: false });
        !at_once && !obeys
    }
}

/// Whether two listeners on the same port would clash. No address and 0.0.0.0 are every address.
fn overlap(wanted: Option<IpAddr>, taken: &str) -> bool {
    match (wanted, taken.parse::<IpAddr>()) {
        (Some(wanted), Ok(taken)) => wanted.is_unspecified() || taken.is_unspecified() || wanted == taken,
        _ => true,
    }
}
