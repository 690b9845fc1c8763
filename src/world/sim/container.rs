//! One simulated container: what it is made of, its state at an instant, how scripts see it.
//! Knows nothing of other containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::behaviour::{Behaviour, Page};
use super::exec::Program;
use super::sim_clock::{SimClock, whole_ms};
use crate::base::port_mapping::Protocol;
use crate::base::text::Part;
use crate::effect::container::{Container, ContainerSpec, ContainerState, Healthcheck, PublishedPort};

/// Lines of log that are kept.
const LOG_LIMIT: usize = 1000;
/// Docker's defaults of a health check.
const HEALTH_INTERVAL_MS: u64 = 30_000;
const HEALTH_RETRIES: u64 = 3;

/// An end that is bound to come unless something happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) at: u64,
    pub(super) exit_code: i64,
    pub(super) oom: bool,
    /// By the app itself: it writes its last words and the restart policy applies.
    pub(super) own: bool,
}

/// A container of the simulated host. Instants are those of the clock's `steady_ms`.
#[derive(Clone, Debug)]
pub(super) struct SimContainer {
    pub(super) id: String,
    /// Grows with every container made: the newest has the highest.
    pub(super) number: u64,
    pub(super) spec: ContainerSpec,
    pub(super) image_id: String,
    pub(super) behaviour: Arc<Behaviour>,
    pub(super) labels: BTreeMap<String, String>,
    /// Networks and the container's other names there.
    pub(super) networks: BTreeMap<String, Vec<String>>,
    pub(super) state: ContainerState,
    pub(super) exit_code: Option<i64>,
    pub(super) oom_killed: bool,
    pub(super) created_at: u64,
    pub(super) started_at: Option<u64>,
    pub(super) fate: Option<Fate>,
    pub(super) restart_at: Option<u64>,
    /// Restarts since it last ran for long.
    pub(super) restarts: u32,
    /// Published while it runs.
    pub(super) ports: Vec<PublishedPort>,
    pub(super) log: Vec<String>,
}

impl SimContainer {
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == ContainerState::Running
    }

    /// Running, or about to be started again by the engine.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting)
    }

    /// What it takes from the machine while it runs.
    pub(super) fn memory_mb(&self) -> u64 {
        self.limit_mb().map_or(self.behaviour.memory_mb, |limit| limit.min(self.behaviour.memory_mb))
    }

    pub(super) fn limit_mb(&self) -> Option<u64> {
        self.spec.mem_limit.map(|limit| limit.0 >> 20)
    }

    /// The port that the app listens on.
    pub(super) fn app_port(&self) -> u16 {
        let from_environment = self.spec.environment.get("PORT").and_then(|text| match text.parts() {
            [Part::Plain(port)] => port.parse().ok(),
            _ => None,
        });
        from_environment.unwrap_or(self.behaviour.port)
    }

    /// The answer on a port inside the container; none when the connection is refused.
    pub(super) fn answer(&self, port: u16, path: &str, now: u64) -> Option<Page> {
        let listens = port == self.app_port() || self.app_port() == 0;
        let started = self.started_at.filter(|_| self.is_running() && listens)?;
        self.behaviour.answer(path, now.saturating_sub(started))
    }

    /// The program that it runs and ends with, in place of the image's app: one that the image has under this command.
    pub(super) fn errand(&self) -> Option<Program> {
        let line = self.spec.command.as_ref()?.join(" ");
        self.behaviour.programs.get(&line).cloned()
    }

    pub(super) fn write_log(&mut self, lines: &[String]) {
        self.log.extend_from_slice(lines);
        let surplus = self.log.len().saturating_sub(LOG_LIMIT);
        self.log.drain(..surplus);
    }

    /// The last lines of its log, oldest first.
    pub(super) fn tail(&self, lines: u64) -> &[String] {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        &self.log[self.log.len().saturating_sub(lines)..]
    }

    /// The engine's own health check: `starting`, `healthy`, `unhealthy`.
    pub(super) fn health(&self, now: u64) -> Option<&'static str> {
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
        let well = |from: u64| self.behaviour.answer("/", from).is_some_and(|page| page.status < 400);
        let failures_until = |last: u64, first: u64| (last + 1).saturating_sub(first.max(start_period / interval + 1));
        let boots_at = self.behaviour.boot_ms.div_ceil(interval).max(1);
        if boots_at <= probes && well(boots_at * interval) {
            let sick_from = self.behaviour.sick_after_ms.map(|after| after.div_ceil(interval));
            return match sick_from {
                Some(first) if failures_until(probes, first) >= retries => "unhealthy",
                _ => "healthy",
            };
        }
        if failures_until(probes, 1) >= retries { "unhealthy" } else { "starting" }
    }

    /// The container as scripts see it; `addresses` are those on its networks.
    pub(super) fn view(&self, clock: &SimClock, now: u64, addresses: BTreeMap<String, String>) -> Container {
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
            ports: self.ports.clone(),
            labels: self.labels.clone(),
            mounts: self.spec.volumes.iter().map(ToString::to_string).collect(),
            networks: addresses,
            environment: self.spec.environment.keys().cloned().collect(),
        }
    }

    /// The port inside the container behind a published TCP port.
    pub(super) fn behind(&self, host_port: u16) -> Option<u16> {
        self.ports
            .iter()
            .find(|port| port.host_port == host_port && port.protocol == Protocol::Tcp)
            .map(|port| port.container_port)
    }
}
