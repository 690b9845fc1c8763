//! How the faults that only a world can bring about come about here. Knows nothing of where they strike.
//!
//! Faults: slow, partial, stale, container dies just after, container falls ill later, disk full, engine restarts.

use std::sync::Arc;

use super::behaviour::Behaviour;
use super::container::Fate;
use super::lifecycle::KILLED;
use super::sim_host::SimHost;
use crate::base::container_ref::ContainerRef;
use crate::effect::compose::{ComposeEffect, ComposeOutcome};
use crate::effect::container::{ContainerEffect, ContainerOutcome, ContainerState, RestartPolicy};
use crate::effect::fault::{FaultKind, SLOW_MS, is_of_engine};
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome};
use crate::world::Call;

/// After the effect that leaves it running.
const DIES_AFTER_MS: u64 = 50;
/// After it got well.
const ILL_AFTER_MS: u64 = 700;
/// How long an engine that restarts answers nobody.
const ENGINE_RESTART_MS: u64 = 2_000;

impl SimHost {
    /// Performs an effect that something goes wrong with.
    pub(super) fn struck(&mut self, call: &Call, effect: &Effect, fault: FaultKind) -> Result<Outcome, EffectError> {
        let kind = format!("{} {}", effect.kind(), effect.facts().subject());
        let kind = kind.trim_end();
        match fault {
            FaultKind::Refused | FaultKind::Transient | FaultKind::TimeoutApplied | FaultKind::TimeoutNotApplied => {
                self.act(call, effect)
            }
            FaultKind::Slow => {
                self.pass(SLOW_MS);
                self.act(call, effect)
            }
            FaultKind::Partial => {
                self.half(call, effect)?;
                Err(EffectError::new(ErrorKind::Failed, format!("`{kind}` failed half-way (injected)")))
            }
            FaultKind::Stale => match self.former.take() {
                Some(mut former) => {
                    let answer = former.act(call, effect);
                    self.former = Some(former);
                    answer
                }
                None => self.act(call, effect),
            },
            FaultKind::Dies => {
                let outcome = self.act(call, effect)?;
                let at = self.now() + DIES_AFTER_MS;
                self.alter(&outcome, |behaviour, uptime| behaviour.dies_after_ms = Some(uptime + DIES_AFTER_MS));
                for name in names(&outcome) {
                    let exit_code = 1;
                    if let Some(container) = self.containers.get_mut(&name).filter(|found| found.is_running()) {
                        container.fate = Some(Fate { at, exit_code, oom: false, own: true });
                    }
                }
                Ok(outcome)
            }
            FaultKind::FallsIll => {
                let outcome = self.act(call, effect)?;
                self.alter(&outcome, |behaviour, _| behaviour.sick_after_ms = Some(behaviour.boot_ms + ILL_AFTER_MS));
                Ok(outcome)
            }
            FaultKind::DiskFull => {
                self.machine.disk_free_mb = 0;
                Err(EffectError::new(ErrorKind::DiskFull, "no space left on device (injected)").not_applied())
            }
            FaultKind::DaemonRestarts => {
                self.restart_engine();
                Err(engine_is_down())
            }
        }
    }

    /// Keeps the host as it is before a change, for a stale answer later.
    pub(super) fn keep_former(&mut self, effect: &Effect) {
        if self.remembers && effect.facts().access() == Access::Write && is_of_engine(effect) {
            self.former = Some(Box::new(self.fork()));
        }
    }

    /// Whether the engine answers.
    pub(super) fn engine_answers(&self, effect: &Effect) -> Result<(), EffectError> {
        let down = self.engine_down_until.is_some_and(|until| self.now() < until);
        if down && (is_of_engine(effect) || matches!(effect, Effect::Lock(_))) {
            return Err(engine_is_down());
        }
        Ok(())
    }

    fn alter(&mut self, outcome: &Outcome, change: impl Fn(&mut Behaviour, u64)) {
        let now = self.now();
        for name in names(outcome) {
            let Some(container) = self.containers.get_mut(&name) else { continue };
            let uptime = now.saturating_sub(container.started_at.unwrap_or(now));
            change(Arc::make_mut(&mut container.behaviour), uptime);
        }
    }

    /// The first part of an effect that has several.
    fn half(&mut self, call: &Call, effect: &Effect) -> Result<(), EffectError> {
        match effect {
            Effect::Container(ContainerEffect::Run(request)) => {
                self.create(Some(call), &request.0)?;
            }
            Effect::Container(ContainerEffect::Remove(request)) => {
                let found = self.containers.find(&request.container).filter(|found| found.is_active());
                if let Some(name) = found.filter(|_| request.force).map(|found| found.name().to_owned()) {
                    self.end_at_once(&name);
                }
            }
            Effect::Compose(ComposeEffect::Up(request)) => {
                let first = self.of_services(call, &request.project, &request.services)?.into_iter().next();
                if let Some(container) = first {
                    self.put_away(&container.id);
                }
            }
            Effect::Compose(ComposeEffect::Stop(request)) => {
                let first = self.of_services(call, &request.project, &request.services)?.into_iter().next();
                if let Some(container) = first {
                    self.end_at_once(&container.name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put_away(&mut self, id: &str) {
        let found = self.containers.find(&ContainerRef::new(id)).map(|found| found.name().to_owned());
        if let Some(name) = found {
            self.end_at_once(&name);
            self.containers.remove(&name);
        }
    }

    fn end_at_once(&mut self, name: &str) {
        let at = self.now();
        self.end(name, Fate { at, exit_code: KILLED, oom: false, own: false });
    }

    /// Every container ends; those come back whose policy says so.
    fn restart_engine(&mut self) {
        let now = self.now();
        let up = now + ENGINE_RESTART_MS;
        self.engine_down_until = Some(up);
        let running: Vec<String> = self.containers.running().map(|found| found.name().to_owned()).collect();
        for name in running {
            self.end(&name, Fate { at: now, exit_code: 0, oom: false, own: false });
            let Some(container) = self.containers.get_mut(&name) else { continue };
            if matches!(container.spec.restart, RestartPolicy::Always | RestartPolicy::UnlessStopped) {
                container.state = ContainerState::Restarting;
                container.restart_at = Some(up);
            }
        }
    }
}

fn engine_is_down() -> EffectError {
    EffectError::new(ErrorKind::Unavailable, "the engine does not answer: it restarts (injected)").not_applied()
}

/// The containers that an effect left running.
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
