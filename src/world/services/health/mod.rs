//! `health_wait`: probes until the service is healthy, its container dies, or the time is up.

mod probe;

use std::sync::Arc;
use std::time::Duration;

use super::cancellation::cancelled;
use super::http::clients::HttpClients;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, ContainerState, container_not_found};
use crate::effect::health::{
    FIRST_PAUSE, HealthEffect, HealthOutcome, Healthy, ProbeKind, WaitHealthy, container_died, container_unhealthy,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use probe::{ProbeResult, Prober, state_name};

/// How often the container is checked for its death.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);
/// Log lines that an error shows.
const LOG_LINES: u64 = 20;
/// How long reading these lines may take.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Performs `health_wait`.
pub(crate) struct HealthService {
    engine: Arc<dyn Engine>,
    clock: Arc<dyn Clock>,
    prober: Prober,
}

/// The attempts so far.
#[derive(Default)]
struct Attempts {
    count: u32,
    last_failure: Option<String>,
    hint: Option<&'static str>,
}

impl Attempts {
    fn failed(&mut self, call: &Call, why: String, hint: Option<&'static str>) {
        call.report_progress(format!("try {}: {why}", self.count));
        self.last_failure = Some(why);
        self.hint = hint;
    }
}

impl HealthService {
    pub(crate) fn new(engine: Arc<dyn Engine>, clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        let prober = Prober::new(Arc::clone(&engine), clients, Arc::clone(&clock));
        Self { engine, clock, prober }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &HealthEffect) -> Result<HealthOutcome, EffectError> {
        match effect {
            HealthEffect::Wait(request) => self.wait_healthy(call, request).await.map(HealthOutcome::Wait),
        }
    }

    async fn wait_healthy(&self, call: &Call, request: &WaitHealthy) -> Result<Healthy, EffectError> {
        let kind = request.probe_kind()?;
        let started = self.clock.steady_ms();
        let mut attempts = Attempts::default();
        let status = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(cancelled()),
            error = self.watch_for_death(request.container.as_ref()) => return Err(error),
            status = self.probe_until_healthy(call, request, kind, &mut attempts) => Some(status?),
            () = self.clock.sleep(request.timeout.0) => None,
        };
        match status {
            Some(status) => {
                let waited_ms = self.clock.steady_ms().saturating_sub(started);
                Ok(Healthy { attempts: attempts.count, waited_ms, status })
            }
            None => Err(self.timed_out(request, attempts).await),
        }
    }

    /// Returns only when the container is dead, or did not exist in the first place.
    async fn watch_for_death(&self, container: Option<&ContainerRef>) -> EffectError {
        let Some(name) = container else { return std::future::pending().await };
        let mut seen = false;
        loop {
            // An engine that does not answer for a moment says nothing about the container.
            match self.engine.find_container(name).await {
                Ok(Some(found)) if is_dead(&found) => {
                    return container_died(&found).detail(self.last_log_lines(name).await);
                }
                Ok(Some(_)) => seen = true,
                Ok(None) if seen => {
                    let message = format!("container `{name}` was removed during the wait");
                    return EffectError::new(ErrorKind::ContainerDied, message);
                }
                Ok(None) => return container_not_found(name),
                Err(error) if seen || is_transient(&error) => {}
                Err(error) => return error,
            }
            self.clock.sleep(WATCH_INTERVAL).await;
        }
    }

    async fn last_log_lines(&self, name: &ContainerRef) -> String {
        tokio::select! {
            lines = self.engine.last_log_lines(name, LOG_LINES) => lines.join("\n"),
            () = self.clock.sleep(LOG_TIMEOUT) => String::new(),
        }
    }

    async fn timed_out(&self, request: &WaitHealthy, attempts: Attempts) -> EffectError {
        let mut error = request.timed_out(attempts.last_failure.as_deref());
        error.hint = attempts.hint.map(str::to_owned);
        match &request.container {
            Some(name) => error.detail(self.last_log_lines(name).await),
            None => error,
        }
    }

    /// Returns the HTTP status of the response that was healthy.
    async fn probe_until_healthy(
        &self,
        call: &Call,
        request: &WaitHealthy,
        kind: ProbeKind,
        attempts: &mut Attempts,
    ) -> Result<Option<u16>, EffectError> {
        if kind == ProbeKind::ContainerState {
            return self.watch_container_state(call, request, attempts).await;
        }
        let mut pause = FIRST_PAUSE.min(request.interval.0);
        let mut in_a_row = 0;
        loop {
            attempts.count += 1;
            match self.prober.probe(call, request, kind).await? {
                ProbeResult::Healthy { status } => {
                    in_a_row += 1;
                    if in_a_row >= request.successes {
                        // Another server may have answered in place of a container that is dead by now.
                        match self.why_not_running(request).await {
                            None => return Ok(status),
                            Some(why) => attempts.failed(call, why, None),
                        }
                    } else {
                        call.report_progress(format!(
                            "try {}: healthy, {in_a_row} of {}",
                            attempts.count, request.successes
                        ));
                    }
                }
                ProbeResult::Unhealthy { why, hint } => {
                    in_a_row = 0;
                    attempts.failed(call, why, hint);
                }
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(request.interval.0);
        }
    }

    /// Returns why the container, if there is one, cannot have answered.
    async fn why_not_running(&self, request: &WaitHealthy) -> Option<String> {
        let name = request.container.as_ref()?;
        match self.engine.find_container(name).await {
            Ok(Some(found)) if found.state == ContainerState::Running => None,
            Ok(Some(found)) => Some(format!("the container is {}", state_name(found.state))),
            Ok(None) => Some("the container was removed".into()),
            Err(error) => Some(error.message),
        }
    }

    /// Waits for the container's own health check. A container without one must run for `steady`.
    async fn watch_container_state(
        &self,
        call: &Call,
        request: &WaitHealthy,
        attempts: &mut Attempts,
    ) -> Result<Option<u16>, EffectError> {
        let Some(name) = &request.container else { return Ok(None) };
        let steady_ms = u64::try_from(request.steady.0.as_millis()).unwrap_or(u64::MAX);
        let mut pause = FIRST_PAUSE.min(request.interval.0);
        let mut running_since: Option<(Option<String>, u64)> = None;
        loop {
            attempts.count += 1;
            let now_ms = self.clock.steady_ms();
            let mut next_pause = pause;
            let why = match self.engine.find_container(name).await {
                Ok(Some(found)) if found.state != ContainerState::Running => {
                    running_since = None;
                    format!("the container is {}", state_name(found.state))
                }
                Ok(Some(found)) => match found.health.as_deref() {
                    Some("healthy") => return Ok(None),
                    Some("unhealthy") => return Err(self.container_unhealthy(name).await),
                    Some(other) => format!("its health check says `{other}`"),
                    None => {
                        let same_start = running_since.as_ref().is_some_and(|(start, _)| *start == found.started_at);
                        if !same_start {
                            running_since = Some((found.started_at, now_ms));
                        }
                        let ran_ms = running_since.as_ref().map_or(0, |(_, since)| now_ms.saturating_sub(*since));
                        if ran_ms >= steady_ms {
                            return Ok(None);
                        }
                        next_pause = pause.min(Duration::from_millis(steady_ms - ran_ms));
                        format!("running for {ran_ms} ms of {steady_ms}")
                    }
                },
                Ok(None) => "the container was removed".into(),
                Err(error) => error.message,
            };
            attempts.failed(call, why, None);
            self.clock.sleep(next_pause).await;
            pause = (pause * 2).min(request.interval.0);
        }
    }

    async fn container_unhealthy(&self, name: &ContainerRef) -> EffectError {
        container_unhealthy(name).detail(self.last_log_lines(name).await)
    }
}

fn is_transient(error: &EffectError) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
}

fn is_dead(container: &Container) -> bool {
    match container.state {
        ContainerState::Exited | ContainerState::Dead | ContainerState::Removing => true,
        ContainerState::Restarting => container.exit_code.is_some_and(|code| code != 0),
        ContainerState::Created | ContainerState::Running | ContainerState::Paused => false,
    }
}
