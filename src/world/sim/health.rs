//! `health_wait` in virtual time: the same probes and outcomes as in the real worlds, with pauses that may differ by
//! milliseconds. Knows nothing of sockets.
//!
//! Faults: a service that never becomes ready; a wrong status, body or field; a container that exits during the wait or
//! does not exist; an unknown port.

use serde_json::Value;

use super::http::{Endpoint, reveal};
use super::model::behaviour::SimResponse;
use super::model::container::SimContainer;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{ContainerState, container_has_several_ports};
use crate::effect::health::{
    FIRST_PAUSE, HealthEffect, HealthOutcome, Healthy, ProbeKind, WaitHealthy, container_died, container_unhealthy,
};
use crate::world::Call;

/// Log lines that an error shows.
const LAST_LINES: u64 = 20;

/// What to probe, derived from the options.
enum Probe {
    Http { endpoint: Endpoint, path: String },
    Tcp(Endpoint),
    State,
}

/// The result of one probe, with the status for HTTP.
struct ProbeResult {
    problem: Option<String>,
    status: Option<u16>,
}

impl SimHost {
    pub(super) fn health(&mut self, call: &Call, effect: &HealthEffect) -> Result<HealthOutcome, EffectError> {
        let HealthEffect::Wait(request) = effect;
        self.wait_healthy(call, request).map(HealthOutcome::Wait)
    }

    fn wait_healthy(&mut self, call: &Call, request: &WaitHealthy) -> Result<Healthy, EffectError> {
        reveal(call, &request.headers)?;
        let probe = self.probe(call, request)?;
        let start = self.now();
        let deadline = start + whole_ms(request.timeout.0);
        let mut pause = whole_ms(FIRST_PAUSE);
        let (mut attempts, mut in_a_row) = (0, 0);
        loop {
            if call.cancel.is_cancelled() {
                return Err(EffectError::cancelled().not_applied());
            }
            self.check_alive(request)?;
            attempts += 1;
            let tried = self.try_once(request, &probe);
            self.check_alive(request)?;
            in_a_row = if tried.problem.is_none() { in_a_row + 1 } else { 0 };
            if in_a_row >= request.successes.max(1) {
                return Ok(Healthy { attempts, waited_ms: self.now() - start, status: tried.status });
            }
            if self.now() >= deadline {
                return Err(self.unhealthy(request, tried));
            }
            self.advance(pause.min(deadline - self.now()));
            pause = (pause * 2).min(whole_ms(request.interval.0)).max(1);
        }
    }

    fn probe(&self, call: &Call, request: &WaitHealthy) -> Result<Probe, EffectError> {
        let kind = request.probe_kind()?;
        let container = request.container.as_ref().map(|container| self.find(container)).transpose()?;
        if let Some(url) = &request.url {
            let (endpoint, path) = self.endpoint_of(call, url)?;
            return Ok(Probe::Http { endpoint, path });
        }
        if let Some(tcp) = &request.tcp {
            let parts = tcp.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let (host, port) = parts.ok_or_else(|| EffectError::invalid(format!("`{tcp}` is not `HOST:PORT`")))?;
            return Ok(Probe::Tcp(self.endpoint_at(host.trim_matches(['[', ']']), port, tcp)));
        }
        let Some(container) = container.filter(|_| kind == ProbeKind::ContainerHttp) else { return Ok(Probe::State) };
        let port = request.port.map_or_else(|| only_port(container), Ok)?;
        let path = request.path.clone().unwrap_or_else(|| "/".into());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Probe::Http {
            endpoint: Endpoint::Container(container.name().to_owned(), port),
            path: format!("{slash}{path}"),
        })
    }

    /// Fails when the container has exited or its health check has failed.
    fn check_alive(&self, request: &WaitHealthy) -> Result<(), EffectError> {
        let Some(wanted) = &request.container else { return Ok(()) };
        let container = self.find(wanted)?;
        let name = container.name();
        if container.health(self.now()) == Some("unhealthy") && container.is_running() && asks_state(request) {
            return Err(container_unhealthy(&name).detail(container.tail(LAST_LINES).join("\n")));
        }
        let lives = match container.state {
            ContainerState::Restarting => container.exit_code == Some(0),
            state => matches!(state, ContainerState::Running | ContainerState::Created),
        };
        if lives {
            return Ok(());
        }
        Err(container_died(&self.view(container)).detail(container.tail(LAST_LINES).join("\n")))
    }

    fn try_once(&mut self, request: &WaitHealthy, probe: &Probe) -> ProbeResult {
        match probe {
            Probe::Http { endpoint, path } => match self.ask(endpoint, path, request.request_timeout) {
                Ok((response, _)) => match mismatch(request, &response) {
                    None => ProbeResult::healthy(Some(response.status)),
                    Some(problem) => ProbeResult::failed(problem, Some(response.status)),
                },
                Err(problem) => ProbeResult::failed(problem, None),
            },
            Probe::Tcp(endpoint) if self.accepts(endpoint) => {
                self.advance(1);
                ProbeResult::healthy(None)
            }
            Probe::Tcp(_) => {
                self.advance(1);
                ProbeResult::failed("connection refused", None)
            }
            Probe::State => {
                let now = self.now();
                let found = request.container.as_ref().and_then(|container| self.containers.find(container));
                match found.and_then(|container| state_problem(container, request, now)) {
                    None => ProbeResult::healthy(None),
                    Some(problem) => ProbeResult::failed(problem, None),
                }
            }
        }
    }

    fn unhealthy(&self, request: &WaitHealthy, last: ProbeResult) -> EffectError {
        let problem = last.problem.unwrap_or_else(|| "too few successes in a row".into());
        let error = request.timed_out(Some(&problem));
        match request.container.as_ref().and_then(|container: &ContainerRef| self.containers.find(container)) {
            Some(container) => error.detail(container.tail(LAST_LINES).join("\n")),
            None => error,
        }
    }
}

impl ProbeResult {
    fn healthy(status: Option<u16>) -> Self {
        Self { problem: None, status }
    }

    fn failed(problem: impl Into<String>, status: Option<u16>) -> Self {
        Self { problem: Some(problem.into()), status }
    }
}

fn asks_state(request: &WaitHealthy) -> bool {
    request.url.is_none() && request.tcp.is_none() && request.path.is_none() && request.port.is_none()
}

/// Returns the only published port, or the only exposed one.
fn only_port(container: &SimContainer) -> Result<u16, EffectError> {
    match container.spec.ports.as_slice() {
        [] => Ok(container.app_port()),
        [port] => Ok(port.container_port),
        ports => Err(container_has_several_ports(
            container.name(),
            "publishes",
            ports.iter().map(|port| port.container_port),
        )),
    }
}

fn state_problem(container: &SimContainer, request: &WaitHealthy, now: u64) -> Option<String> {
    match container.health(now) {
        Some("healthy") => None,
        Some(health) => Some(format!("its health check says `{health}`")),
        None if !container.is_running() => Some("it is not running".into()),
        None => {
            let uptime = now.saturating_sub(container.started_at.unwrap_or(now));
            (uptime < whole_ms(request.steady.0)).then(|| format!("it has been running for {uptime} ms only"))
        }
    }
}

/// Returns what is wrong with a response.
fn mismatch(request: &WaitHealthy, response: &SimResponse) -> Option<String> {
    let fits = match request.status.as_slice() {
        [] => (200..300).contains(&response.status),
        wanted => wanted.contains(&response.status),
    };
    if !fits {
        return Some(format!("it answered {}", response.status));
    }
    let text = response.text();
    if let Some(wanted) = request.body.as_ref().filter(|wanted| !text.contains(wanted.as_str())) {
        return Some(format!("its answer has no `{wanted}`"));
    }
    if request.json.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return Some("its answer is not JSON".into()) };
    request.json.iter().find_map(|(path, wanted)| match json_field(&value, path) {
        Some(found) if json_equal(found, wanted) => None,
        _ => Some(format!("its field `{path}` is not {wanted}")),
    })
}

/// Returns the field of that name, or the nested field that a dotted path leads to. Numbers index lists.
fn json_field<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    let step = |value: &'a Value, key: &str| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    };
    value.get(field).or_else(|| field.split('.').try_fold(value, step))
}

/// Compares values; numbers are equal if their values are.
fn json_equal(found: &Value, wanted: &Value) -> bool {
    found == wanted || matches!((found.as_f64(), wanted.as_f64()), (Some(found), Some(wanted)) if found == wanted)
}
