//! `health_wait` in virtual time: the same questions, pauses and ends as in the real worlds. Knows nothing of sockets.
//!
//! Faults: never ready, a wrong status, body or field, a container that dies meanwhile or does not exist, a port
//! that is not known.

use serde_json::Value;

use super::behaviour::Page;
use super::container::SimContainer;
use super::http::{Place, reveal};
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::ContainerState;
use crate::effect::health::{FIRST_PAUSE, HealthEffect, HealthOutcome, Healthy, WaitHealthy};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Lines of log that come with a failure.
const LAST_LINES: u64 = 20;

/// What is asked, as follows from what is given.
enum Question {
    Http { place: Place, path: String },
    Tcp(Place),
    State,
}

/// One try: how it went, and the status where there was HTTP.
struct Try {
    trouble: Option<String>,
    status: Option<u16>,
}

impl Try {
    fn well(status: Option<u16>) -> Self {
        Self { trouble: None, status }
    }

    fn bad(trouble: impl Into<String>, status: Option<u16>) -> Self {
        Self { trouble: Some(trouble.into()), status }
    }
}

fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

impl SimHost {
    pub(super) fn health(&mut self, call: &Call, effect: &HealthEffect) -> Result<HealthOutcome, EffectError> {
        let HealthEffect::Wait(request) = effect;
        self.wait_healthy(call, request).map(HealthOutcome::Wait)
    }

    fn wait_healthy(&mut self, call: &Call, request: &WaitHealthy) -> Result<Healthy, EffectError> {
        reveal(call, &request.headers)?;
        let question = self.question(call, request)?;
        let start = self.now();
        let deadline = start + whole_ms(request.timeout.0);
        let mut pause = whole_ms(FIRST_PAUSE);
        let (mut attempts, mut in_a_row) = (0, 0);
        loop {
            if call.cancel.is_cancelled() {
                return Err(EffectError::new(ErrorKind::Cancelled, "cancelled").not_applied());
            }
            self.check_alive(request)?;
            attempts += 1;
            let tried = self.try_once(request, &question);
            self.check_alive(request)?;
            in_a_row = if tried.trouble.is_none() { in_a_row + 1 } else { 0 };
            if in_a_row >= request.successes.max(1) {
                return Ok(Healthy { attempts, waited_ms: self.now() - start, status: tried.status });
            }
            if self.now() >= deadline {
                return Err(self.unhealthy(request, tried));
            }
            self.pass(pause.min(deadline - self.now()));
            pause = (pause * 2).min(whole_ms(request.interval.0)).max(1);
        }
    }

    fn question(&self, call: &Call, request: &WaitHealthy) -> Result<Question, EffectError> {
        let wants_port = request.path.is_some() || request.port.is_some();
        let has_conditions = !request.status.is_empty()
            || request.body.is_some()
            || !request.json.is_empty()
            || !request.headers.is_empty();
        match (&request.url, &request.tcp, &request.container) {
            (Some(_), Some(_), _) => return Err(invalid("`url` and `tcp` cannot both be asked")),
            (None, None, None) => return Err(invalid("one of `container`, `url` and `tcp` is needed")),
            (url, tcp, _) if wants_port && (url.is_some() || tcp.is_some()) => {
                return Err(invalid("`path` and `port` belong to a `container` that is asked itself"));
            }
            (None, _, _) if has_conditions && !wants_port => {
                return Err(invalid("`status`, `body`, `json` and `headers` need an HTTP answer"));
            }
            _ => {}
        }
        let container = request.container.as_ref().map(|container| self.find(container)).transpose()?;
        if let Some(url) = &request.url {
            let (place, path) = self.place(&call.vault.reveal(url)?)?;
            return Ok(Question::Http { place, path });
        }
        if let Some(tcp) = &request.tcp {
            let parts = tcp.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let (host, port) = parts.ok_or_else(|| invalid(format!("`{tcp}` is not `HOST:PORT`")))?;
            return Ok(Question::Tcp(self.place_at(host.trim_matches(['[', ']']), port, tcp)));
        }
        let Some(container) = container.filter(|_| wants_port) else { return Ok(Question::State) };
        let port = request.port.map_or_else(|| only_port(container), Ok)?;
        let path = request.path.clone().unwrap_or_else(|| "/".into());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Question::Http { place: Place::Inside(container.name().to_owned(), port), path: format!("{slash}{path}") })
    }

    /// Ends the wait when the container has died.
    fn check_alive(&self, request: &WaitHealthy) -> Result<(), EffectError> {
        let Some(wanted) = &request.container else { return Ok(()) };
        let container = self.find(wanted)?;
        let name = container.name();
        if container.health(self.now()) == Some("unhealthy") && container.is_running() && asks_state(request) {
            let message = format!("the health check of container `{name}` says `unhealthy`");
            return Err(EffectError::new(ErrorKind::Unhealthy, message).detail(container.tail(LAST_LINES).join("\n")));
        }
        let lives = match container.state {
            ContainerState::Restarting => container.exit_code == Some(0),
            state => matches!(state, ContainerState::Running | ContainerState::Created),
        };
        if lives {
            return Ok(());
        }
        let why = if container.oom_killed { " for want of memory" } else { "" };
        let code = container.exit_code.unwrap_or_default();
        Err(EffectError::new(ErrorKind::ContainerDied, format!("container `{name}` died{why} with exit code {code}"))
            .hint(format!("docker logs {name}"))
            .detail(container.tail(LAST_LINES).join("\n")))
    }

    fn try_once(&mut self, request: &WaitHealthy, question: &Question) -> Try {
        match question {
            Question::Http { place, path } => match self.ask(place, path, request.request_timeout) {
                Ok((page, _)) => match mismatch(request, &page) {
                    None => Try::well(Some(page.status)),
                    Some(trouble) => Try::bad(trouble, Some(page.status)),
                },
                Err(trouble) => Try::bad(trouble, None),
            },
            Question::Tcp(place) if self.accepts(place) => {
                self.pass(1);
                Try::well(None)
            }
            Question::Tcp(_) => {
                self.pass(1);
                Try::bad("connection refused", None)
            }
            Question::State => {
                let now = self.now();
                let found = request.container.as_ref().and_then(|container| self.containers.find(container));
                match found.and_then(|container| state_trouble(container, request, now)) {
                    None => Try::well(None),
                    Some(trouble) => Try::bad(trouble, None),
                }
            }
        }
    }

    fn unhealthy(&self, request: &WaitHealthy, last: Try) -> EffectError {
        use crate::effect::Facts;
        let subject = request.subject();
        let trouble = last.trouble.unwrap_or_else(|| "not often enough in a row".into());
        let message = format!("`{subject}` did not become healthy within {}: {trouble}", request.timeout);
        let error = EffectError::new(ErrorKind::Unhealthy, message);
        match request.container.as_ref().and_then(|container: &ContainerRef| self.containers.find(container)) {
            Some(container) => {
                error.hint(format!("docker logs {}", container.name())).detail(container.tail(LAST_LINES).join("\n"))
            }
            None => error,
        }
    }
}

fn asks_state(request: &WaitHealthy) -> bool {
    request.url.is_none() && request.tcp.is_none() && request.path.is_none() && request.port.is_none()
}

/// The only published, else the only exposed port.
fn only_port(container: &SimContainer) -> Result<u16, EffectError> {
    match container.spec.ports.as_slice() {
        [] => Ok(container.app_port()),
        [port] => Ok(port.container_port),
        _ => Err(invalid(format!("container `{}` publishes several ports: say which with `port`", container.name()))),
    }
}

fn state_trouble(container: &SimContainer, request: &WaitHealthy, now: u64) -> Option<String> {
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

/// What is wrong with an answer.
fn mismatch(request: &WaitHealthy, page: &Page) -> Option<String> {
    let fits = match request.status.as_slice() {
        [] => (200..300).contains(&page.status),
        wanted => wanted.contains(&page.status),
    };
    if !fits {
        return Some(format!("it answered {}", page.status));
    }
    let text = page.text();
    if let Some(wanted) = request.body.as_ref().filter(|wanted| !text.contains(wanted.as_str())) {
        return Some(format!("its answer has no `{wanted}`"));
    }
    if request.json.is_empty() {
        return None;
    }
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return Some("its answer is not JSON".into()) };
    request.json.iter().find_map(|(path, wanted)| match reach(&value, path) {
        Some(found) if same(found, wanted) => None,
        _ => Some(format!("its field `{path}` is not {wanted}")),
    })
}

/// The field itself, else the nested one that its dots lead to; a number counts into a list.
fn reach<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    let step = |value: &'a Value, key: &str| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    };
    value.get(field).or_else(|| field.split('.').try_fold(value, step))
}

/// Numbers are the same when their values are.
fn same(found: &Value, wanted: &Value) -> bool {
    found == wanted || matches!((found.as_f64(), wanted.as_f64()), (Some(found), Some(wanted)) if found == wanted)
}
