//! `health_wait`: tries until the answers are good, the container dies, or the time is over.

use std::time::Duration;

use super::Services;
use super::health_question::{Answer, Question, state_name};
use super::wait::cancelled;
use crate::base::container_ref::ContainerRef;
use crate::effect::container::{Container, ContainerState};
use crate::effect::health::{FIRST_PAUSE, HealthEffect, HealthOutcome, Healthy, WaitHealthy};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Pause between two looks at the container: how late a death is noticed.
const WATCH_PAUSE: Duration = Duration::from_millis(100);
/// Lines of its log that an error shows.
const LOG_LINES: u64 = 20;
/// How long reading those may take.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// What the tries so far brought.
#[derive(Default)]
struct Tries {
    count: u32,
    last: Option<String>,
    hint: Option<&'static str>,
}

impl Tries {
    fn failed(&mut self, call: &Call, why: String, hint: Option<&'static str>) {
        call.tell(format!("try {}: {why}", self.count));
        self.last = Some(why);
        self.hint = hint;
    }
}

impl Services {
    pub(super) async fn health(&self, call: &Call, effect: &HealthEffect) -> Result<HealthOutcome, EffectError> {
        match effect {
            HealthEffect::Wait(request) => self.wait_healthy(call, request).await.map(HealthOutcome::Wait),
        }
    }

    async fn wait_healthy(&self, call: &Call, request: &WaitHealthy) -> Result<Healthy, EffectError> {
        let question = Question::of(request)?;
        let started = self.clock.steady_ms();
        let mut tries = Tries::default();
        let status = tokio::select! {
            biased;
            () = call.cancel.cancelled() => return Err(cancelled()),
            error = self.death(request.container.as_ref()) => return Err(error),
            status = self.try_until_healthy(call, request, question, &mut tries) => Some(status?),
            () = self.clock.sleep(request.timeout.0) => None,
        };
        match status {
            Some(status) => {
                let waited_ms = self.clock.steady_ms().saturating_sub(started);
                Ok(Healthy { attempts: tries.count, waited_ms, status })
            }
            None => Err(self.never_healthy(request, tries).await),
        }
    }

    /// Ends only when the container is dead or was not there to begin with.
    async fn death(&self, container: Option<&ContainerRef>) -> EffectError {
        let Some(name) = container else { return std::future::pending().await };
        let mut seen = false;
        loop {
            // An engine that does not answer for a moment has not lost the container.
            match self.engine.look(name).await {
                Ok(Some(found)) if is_dead(&found) => return self.died(name, &found).await,
                Ok(Some(_)) => seen = true,
                Ok(None) if seen => {
                    let message = format!("container `{name}` was removed while it was waited for");
                    return EffectError::new(ErrorKind::ContainerDied, message);
                }
                Ok(None) => {
                    return EffectError::new(ErrorKind::NotFound, format!("container `{name}` does not exist"));
                }
                Err(error) if seen || is_passing(&error) => {}
                Err(error) => return error,
            }
            self.clock.sleep(WATCH_PAUSE).await;
        }
    }

    async fn died(&self, name: &ContainerRef, found: &Container) -> EffectError {
        let code = found.exit_code.map_or_else(|| "an unknown exit code".into(), |code| format!("exit code {code}"));
        let (message, hint) = if found.oom_killed {
            (format!("container `{name}` ran out of memory and was killed ({code})"), "raise its `mem_limit`")
        } else if found.state == ContainerState::Restarting {
            (format!("container `{name}` keeps ending with {code} and being restarted"), DEATH_HINT)
        } else {
            (format!("container `{name}` ended with {code} while it was waited for"), DEATH_HINT)
        };
        EffectError::new(ErrorKind::ContainerDied, message).hint(hint).detail(self.log_of(name).await)
    }

    async fn log_of(&self, name: &ContainerRef) -> String {
        tokio::select! {
            lines = self.engine.last_lines(name, LOG_LINES) => lines.join("\n"),
            () = self.clock.sleep(LOG_PATIENCE) => String::new(),
        }
    }

    async fn never_healthy(&self, request: &WaitHealthy, tries: Tries) -> EffectError {
        let subject = crate::effect::Facts::subject(request);
        let last =
            tries.last.map_or_else(|| "there was no answer at all".into(), |last| format!("last answer: {last}"));
        let message = format!("`{subject}` was not healthy within {}; {last}", request.timeout);
        let mut error = EffectError::new(ErrorKind::Unhealthy, message);
        error.hint = tries.hint.map(str::to_owned);
        match &request.container {
            Some(name) => error.detail(self.log_of(name).await),
            None => error,
        }
    }

    /// The status of the answer that made it healthy.
    async fn try_until_healthy(
        &self,
        call: &Call,
        request: &WaitHealthy,
        question: Question,
        tries: &mut Tries,
    ) -> Result<Option<u16>, EffectError> {
        if question == Question::ContainerState {
            return self.steady(call, request, tries).await;
        }
        let mut pause = FIRST_PAUSE.min(request.interval.0);
        let mut in_a_row = 0;
        loop {
            tries.count += 1;
            match self.try_once(call, request, question).await? {
                Answer::Healthy { status } => {
                    in_a_row += 1;
                    if in_a_row >= request.successes {
                        // Another server may have answered in place of a container that is dead by now.
                        match self.state_now(request).await {
                            None => return Ok(status),
                            Some(why) => tries.failed(call, why, None),
                        }
                    } else {
                        call.tell(format!("try {}: healthy, {in_a_row} of {}", tries.count, request.successes));
                    }
                }
                Answer::NotYet { why, hint } => {
                    in_a_row = 0;
                    tries.failed(call, why, hint);
                }
            }
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(request.interval.0);
        }
    }

    /// Why the container, if there is one, cannot be what answered.
    async fn state_now(&self, request: &WaitHealthy) -> Option<String> {
        let name = request.container.as_ref()?;
        match self.engine.look(name).await {
            Ok(Some(found)) if found.state == ContainerState::Running => None,
            Ok(Some(found)) => Some(format!("the container is {}", state_name(found.state))),
            Ok(None) => Some("the container is gone".into()),
            Err(error) => Some(error.message),
        }
    }

    /// By the container's own health check, or without one until it has been running for `steady`.
    async fn steady(&self, call: &Call, request: &WaitHealthy, tries: &mut Tries) -> Result<Option<u16>, EffectError> {
        let Some(name) = &request.container else { return Ok(None) };
        let steady_ms = u64::try_from(request.steady.0.as_millis()).unwrap_or(u64::MAX);
        let mut pause = FIRST_PAUSE.min(request.interval.0);
        let mut running_since: Option<(Option<String>, u64)> = None;
        loop {
            tries.count += 1;
            let looked_at = self.clock.steady_ms();
            let mut rest = pause;
            let why = match self.engine.look(name).await {
                Ok(Some(found)) if found.state != ContainerState::Running => {
                    running_since = None;
                    format!("the container is {}", state_name(found.state))
                }
                Ok(Some(found)) => match found.health.as_deref() {
                    Some("healthy") => return Ok(None),
                    Some("unhealthy") => return Err(self.says_unhealthy(name).await),
                    Some(other) => format!("its health check says `{other}`"),
                    None => {
                        let same_start = running_since.as_ref().is_some_and(|(start, _)| *start == found.started_at);
                        if !same_start {
                            running_since = Some((found.started_at, looked_at));
                        }
                        let ran = running_since.as_ref().map_or(0, |(_, since)| looked_at.saturating_sub(*since));
                        if ran >= steady_ms {
                            return Ok(None);
                        }
                        rest = pause.min(Duration::from_millis(steady_ms - ran));
                        format!("running for {ran} ms of {steady_ms}")
                    }
                },
                Ok(None) => "the container is gone".into(),
                Err(error) => error.message,
            };
            tries.failed(call, why, None);
            self.clock.sleep(rest).await;
            pause = (pause * 2).min(request.interval.0);
        }
    }

    async fn says_unhealthy(&self, name: &ContainerRef) -> EffectError {
        EffectError::new(ErrorKind::Unhealthy, format!("the health check of container `{name}` says `unhealthy`"))
            .hint("see what its `healthcheck` runs, and whether `start_period` is long enough")
            .detail(self.log_of(name).await)
    }
}

const DEATH_HINT: &str = "its last log lines say why; start the same image by hand to see more";

fn is_passing(error: &EffectError) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout)
}

fn is_dead(container: &Container) -> bool {
    match container.state {
        ContainerState::Exited | ContainerState::Dead | ContainerState::Removing => true,
        ContainerState::Restarting => container.exit_code.is_some_and(|code| code != 0),
        ContainerState::Created | ContainerState::Running | ContainerState::Paused => false,
    }
}
