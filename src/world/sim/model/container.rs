//! One simulated container: its configuration, its state, and how scripts see it. Knows nothing of other containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::behaviour::{Behaviour, SimResponse};
use super::program::SimProgram;
use crate::base::port_mapping::Protocol;
use crate::base::text::Part;
use crate::effect::container::{Container, ContainerSpec, ContainerState, Healthcheck, PublishedPort};
use crate::world::sim::sim_clock::{SimClock, whole_ms};

/// The number of log lines kept.
const LOG_LIMIT: usize = 1000;
/// Docker's defaults for health checks.
const HEALTH_INTERVAL_MS: u64 = 30_000;
const HEALTH_RETRIES: u64 = 3;

/// An exit that is going to happen unless something else happens first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PendingExit {
    pub(crate) at: u64,
    pub(crate) exit_code: i64,
    pub(crate) oom: bool,
    /// Whether the app exits by itself: it writes its exit log, and the restart policy applies.
    pub(crate) by_itself: bool,
}

/// A container of the simulated host. Times are those of the clock's `steady_ms`.
#[derive(Clone, Debug)]
pub(crate) struct SimContainer {
    pub(crate) id: String,
    /// A number that grows with each container; the newest has the highest.
    pub(crate) number: u64,
    pub(crate) spec: ContainerSpec,
    pub(crate) image_id: String,
    pub(crate) behaviour: Arc<Behaviour>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Network to the container's aliases on it.
    pub(crate) networks: BTreeMap<String, Vec<String>>,
    pub(crate) state: ContainerState,
    pub(crate) exit_code: Option<i64>,
    pub(crate) oom_killed: bool,
    pub(crate) created_at: u64,
    pub(crate) started_at: Option<u64>,
    pub(crate) pending_exit: Option<PendingExit>,
    pub(crate) restart_at: Option<u64>,
    /// Restarts since it last ran long enough to reset the backoff.
    pub(crate) restarts: u32,
    /// Published ports, while it is running.
    pub(crate) ports: Vec<PublishedPort>,
    pub(crate) log: Vec<String>,
}

impl SimContainer {
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }

    /// Returns whether it is running or about to be restarted by the engine.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting)
    }

    /// Returns the memory it uses while it is running, in MB.
    pub(crate) fn memory_mb(&self) -> u64 {
        self.limit_mb().map_or(self.behaviour.memory_mb, |limit| limit.min(self.behaviour.memory_mb))
    }

    pub(crate) fn limit_mb(&self) -> Option<u64> {
        self.spec.mem_limit.map(|limit| limit.0 >> 20)
    }

    /// Returns the port the app listens on.
    pub(crate) fn app_port(&self) -> u16 {
        let from_environment = self.spec.environment.get("PORT").and_then(|text| match text.parts() {
            [Part::Plain(port)] => port.parse().ok(),
            _ => None,
        });
        from_environment.unwrap_or(self.behaviour.port)
    }

    /// Returns the response on a port inside the container, or `None` if the connection is refused.
    pub(crate) fn respond(&self, port: u16, path: &str, now: u64) -> Option<SimResponse> {
        let listens = port == self.app_port() || self.app_port() == 0;
        let started = self.started_at.filter(|_| self.is_running() && listens)?;
        self.behaviour.respond(path, now.saturating_sub(started))
    }

    /// Returns the program that runs instead of the image's app and then exits: the one the image lists under the
    /// container's command.
    pub(crate) fn one_shot_program(&self) -> Option<SimProgram> {
        let line = self.spec.command.as_ref()?.join(" ");
        self.behaviour.programs.get(&line).cloned()
    }

    pub(crate) fn write_log(&mut self, lines: &[String]) {
        self.log.extend_from_slice(lines);
        let surplus = self.log.len().saturating_sub(LOG_LIMIT);
        self.log.drain(..surplus);
    }

    /// Returns the last lines of its log, oldest first.
    pub(crate) fn tail(&self, lines: u64) -> &[String] {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        &self.log[self.log.len().saturating_sub(lines)..]
    }

    /// Returns the result of the engine's health check: `starting`, `healthy` or `unhealthy`.
    pub(crate) fn health(&self, now: u64) -> Option<&'static str> {
        let check =
            self.spec.healthcheck.as_ref().filter(|check| check.test.first().is_none_or(|word| word != "NONE"))?;
        let started = self.started_at.filter(|_| self.is_running());
        Some(started.map_or("unhealthy", |started| self.health_after(check, now.saturating_sub(started))))
    }

    fn health_after(&self, check: &Healthcheck, uptime: u64) -> &'static str {
        let interval = check.interval.map_or(HEALTH_INTERVAL_MS, |interval| whole_ms(interval.0)).max(1);
        let retries = check.retries.map_or(HEALTH_RETRIES, u64::from).max(1);
        let start_period = check.start_period.map_or(0, |period| whole_ms(period.0));
        let probes = uptime / interval;
        let is_healthy_at = |from: u64| self.behaviour.respond("/", from).is_some_and(|response| response.status < 400);
        let failures_until = |last: u64, first: u64| (last + 1).saturating_sub(first.max(start_period / interval + 1));
        let boots_at = self.behaviour.boot_ms.div_ceil(interval).max(1);
        if boots_at <= probes && is_healthy_at(boots_at * interval) {
            let unhealthy_from = self.behaviour.unhealthy_after_ms.map(|after| after.div_ceil(interval));
            return match unhealthy_from {
                Some(first) if failures_until(probes, first) >= retries => "unhealthy",
                _ => "healthy",
            };
        }
        if failures_until(probes, 1) >= retries { "unhealthy" } else { "starting" }
    }

    /// Returns the container as scripts see it; `addresses` are its addresses by network.
    pub(crate) fn view(&self, clock: &SimClock, now: u64, addresses: BTreeMap<String, String>) -> Container {
        Container {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            image: self.spec.image.clone(),
            image_id: self.image_id.clone(),
            state: self.state,
            exit_code: self.exit_code.filter(|_| !self.is_running()),
            health: self.health(now).map(str::to_owned),
            oom_killed: self.oom_killed,
            created_at: Some(clock.text(self.created_at)),
            started_at: self.started_at.map(|at| clock.text(at)),
            ports: if self.is_running() { self.ports.clone() } else { self.spec.configured_ports() },
            labels: self.labels.clone(),
            mounts: self.spec.volumes.iter().map(ToString::to_string).collect(),
            networks: addresses,
            environment: self.spec.environment.keys().cloned().collect(),
            restart: self.spec.restart.clone(),
        }
    }

    /// Returns the port inside the container that a published TCP port leads to.
    pub(crate) fn container_port_for(&self, host_port: u16) -> Option<u16> {
        self.ports
            .iter()
            .find(|port| port.host_port == host_port && port.protocol == Protocol::Tcp)
            .map(|port| port.container_port)
    }
}
