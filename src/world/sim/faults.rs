//! Injects faults that only a world can produce. Knows nothing of when they are injected.
//!
//! Faults: slow, partial, stale, container exits just after, container becomes unhealthy later, disk full, engine
//! restart.

use std::sync::Arc;

use super::container::lifecycle::KILLED;
use super::model::behaviour::Behaviour;
use super::model::container::PendingExit;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::{ComposeEffect, ComposeOutcome};
use crate::effect::container::{ContainerEffect, ContainerOutcome, ContainerState, RestartPolicy};
use crate::effect::fault::{FaultKind, SLOW_MS, is_of_engine};
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome};
use crate::world::Call;

/// Time from the effect that starts a container to its exit.
const DIES_AFTER_MS: u64 = 50;
/// Time from becoming healthy to becoming unhealthy.
const UNHEALTHY_AFTER_MS: u64 = 700;
/// How long a restarting engine does not answer.
const ENGINE_RESTART_MS: u64 = 2_000;

impl SimHost {
    /// Performs an effect with an injected fault.
    pub(super) fn perform_with_fault(
        &mut self,
        call: &Call,
        effect: &Effect,
        fault: FaultKind,
    ) -> Result<Outcome, EffectError> {
        let kind = format!("{} {}", effect.kind(), effect.spec().subject());
        let kind = kind.trim_end();
        match fault {
            FaultKind::Refused
            | FaultKind::Transient
            | FaultKind::TimeoutApplied
            | FaultKind::TimeoutNotApplied
            | FaultKind::ConnectionLost => self.perform_normally(call, effect),
            FaultKind::Slow => {
                self.advance(SLOW_MS);
                self.perform_normally(call, effect)
            }
            FaultKind::Partial => {
                self.perform_partially(call, effect)?;
                Err(EffectError::new(ErrorKind::Failed, format!("`{kind}` failed half-way (injected)")))
            }
            FaultKind::Stale => match self.previous.take() {
                Some(mut previous) => {
                    let answer = previous.perform_normally(call, effect);
                    self.previous = Some(previous);
                    answer
                }
                None => self.perform_normally(call, effect),
            },
            FaultKind::Dies => {
                let outcome = self.perform_normally(call, effect)?;
                let at = self.now() + DIES_AFTER_MS;
                self.change_behaviour(&outcome, |behaviour, uptime| {
                    behaviour.dies_after_ms = Some(uptime + DIES_AFTER_MS)
                });
                for name in names(&outcome) {
                    let exit_code = 1;
                    if let Some(container) = self.containers.get_mut(&name).filter(|found| found.is_running()) {
                        container.pending_exit = Some(PendingExit { at, exit_code, oom: false, by_itself: true });
                    }
                }
                Ok(outcome)
            }
            FaultKind::BecomesUnhealthy => {
                let outcome = self.perform_normally(call, effect)?;
                self.change_behaviour(&outcome, |behaviour, _| {
                    behaviour.unhealthy_after_ms = Some(behaviour.boot_ms + UNHEALTHY_AFTER_MS)
                });
                Ok(outcome)
            }
            FaultKind::DiskFull => {
                self.machine.disk_free_mb = 0;
                Err(EffectError::disk_full(&format!("`{}` (injected)", effect.kind())).not_applied())
            }
            FaultKind::DaemonRestarts => {
                self.restart_engine();
                Err(engine_down())
            }
        }
    }

    /// Keeps the state before a change, for a later stale answer.
    pub(super) fn keep_previous(&mut self, effect: &Effect) {
        if self.keeps_previous && effect.spec().access() == Access::Write && is_of_engine(effect) {
            self.previous = Some(Box::new(self.fork()));
        }
    }

    /// Fails while the engine is restarting.
    pub(super) fn check_engine_is_up(&self, effect: &Effect) -> Result<(), EffectError> {
        let down = self.engine_down_until.is_some_and(|until| self.now() < until);
        if down && (is_of_engine(effect) || matches!(effect, Effect::Lock(_))) {
            return Err(engine_down());
        }
        Ok(())
    }

    fn change_behaviour(&mut self, outcome: &Outcome, change: impl Fn(&mut Behaviour, u64)) {
        let now = self.now();
        for name in names(outcome) {
            let Some(container) = self.containers.get_mut(&name) else { continue };
            let uptime = now.saturating_sub(container.started_at.unwrap_or(now));
            change(Arc::make_mut(&mut container.behaviour), uptime);
        }
    }

    /// Performs the first part of an effect that has several.
    fn perform_partially(&mut self, call: &Call, effect: &Effect) -> Result<(), EffectError> {
        match effect {
            Effect::Container(ContainerEffect::Run(request)) => {
                self.create(Some(call), &request.0)?;
            }
            Effect::Container(ContainerEffect::Remove(request)) => {
                let found = self.containers.find(&request.container).filter(|found| found.is_active());
                if let Some(name) = found.filter(|_| request.force).map(|found| found.name().to_owned()) {
                    self.kill_at_once(&name);
                }
            }
            Effect::Compose(ComposeEffect::Up(request)) => {
                self.keep_replaced(call, request)?;
                let first = self.containers_of_services(call, &request.project, &request.services)?.into_iter().next();
                if let Some(container) = first {
                    self.kill_and_remove(&container.id);
                }
            }
            Effect::Compose(ComposeEffect::Stop(request)) => {
                let first = self.containers_of_services(call, &request.project, &request.services)?.into_iter().next();
                if let Some(container) = first {
                    self.kill_at_once(&container.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn kill_and_remove(&mut self, id: &str) {
        let found = self.containers.find(&ContainerRef::new(id)).map(|found| found.name().to_owned());
        if let Some(name) = found {
            self.kill_at_once(&name);
            self.containers.remove(&name);
        }
    }

    fn kill_at_once(&mut self, name: &str) {
        let at = self.now();
        self.record_exit(name, PendingExit { at, exit_code: KILLED, oom: false, by_itself: false });
    }

    /// Restarts the engine: every container exits, and those whose policy says so are started again.
    fn restart_engine(&mut self) {
        let now = self.now();
        let up = now + ENGINE_RESTART_MS;
        self.engine_down_until = Some(up);
        let running: Vec<String> = self.containers.running().map(|found| found.name().to_owned()).collect();
        for name in running {
            self.record_exit(&name, PendingExit { at: now, exit_code: 0, oom: false, by_itself: false });
            let Some(container) = self.containers.get_mut(&name) else { continue };
            if matches!(container.spec.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped) {
                container.state = ContainerState::Restarting;
                container.restart_at = Some(up);
            }
        }
    }
}

fn engine_down() -> EffectError {
    EffectError::new(ErrorKind::Unavailable, "the engine does not answer: it restarts (injected)").not_applied()
}

/// Returns the containers that an effect started.
fn names(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Container(ContainerOutcome::Run(container) | ContainerOutcome::Start(container)) => {
            vec![container.name.clone()]
        }
        Outcome::Compose(ComposeOutcome::Up(containers)) => {
            containers.iter().map(|container| container.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}
