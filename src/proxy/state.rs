//! The routes as plain data: a fold of commands that refuses those that would break a route. Knows no socket, file or
//! clock.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::command::{Command, Refusal, RefusalKind, default_hold};
use super::validate;
use crate::base::duration_text::DurationText;
use crate::effect::traffic::{CanaryRule, Mirror, Route, Target, Targets};

/// The maximum number of services.
pub const SERVICES_MAX: usize = 1_000;
/// The number of removed services whose epochs are kept.
const FENCES_MAX: usize = 1_000;

/// Everything that must survive the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The secret that sticky cookies are derived from.
    pub seed: String,
    /// The services by name.
    pub services: BTreeMap<String, ServiceState>,
    /// The epochs of removed services, so that older commands for them stay refused.
    #[serde(default)]
    pub fences: BTreeMap<String, u64>,
}

/// The desired state of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceState {
    /// The epoch of the last command.
    pub epoch: u64,
    /// Where the service is reached.
    pub route: Route,
    /// Counts the steps. A sticky cookie is valid for one step.
    pub step: u64,
    /// The targets with their weights.
    pub targets: Vec<Target>,
    /// Whether clients stay with their target within a step.
    #[serde(default)]
    pub sticky: bool,
    /// Which requests go to a canary target regardless of the weights.
    #[serde(default)]
    pub canary: Option<CanaryRule>,
    /// A target that receives copies of requests.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// Whether new requests wait, and how many for how long.
    #[serde(default)]
    pub hold: Option<HoldState>,
    /// Targets that receive no new requests.
    #[serde(default)]
    pub draining: BTreeSet<String>,
}

/// The limits of a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldState {
    /// How many requests may wait.
    pub max_requests: u64,
    /// How long they wait.
    #[serde(default = "default_hold")]
    pub max_wait: DurationText,
    /// When that time is over, in milliseconds since 1970.
    pub until_ms: u64,
    /// Whether further requests get a 503 then, instead of being forwarded.
    #[serde(default)]
    pub until_released: bool,
}

impl HoldState {
    /// Returns whether no request is forwarded at this time, in milliseconds since 1970.
    pub fn is_active(&self, now_ms: u64) -> bool {
        self.until_released || now_ms < self.until_ms
    }
}

impl State {
    /// Returns the state after `command`. Commands that only read return the same state. `now_ms`: milliseconds since
    /// 1970.
    ///
    /// # Errors
    /// When the command has an old epoch, is invalid, or would leave a route without a target.
    pub fn after(&self, command: &Command, now_ms: u64) -> Result<Self, Refusal> {
        let mut next = self.clone();
        let Some((service, epoch)) = command.fence() else { return Ok(next) };
        let last = self.services.get(service).map(|state| state.epoch).or_else(|| self.fences.get(service).copied());
        if let Some(last) = last.filter(|last| epoch < *last) {
            let message = format!("epoch {epoch} for `{service}` is outdated: the last command had epoch {last}");
            return Err(Refusal::new(RefusalKind::Fenced, message));
        }
        next.change(command, now_ms)?;
        if let Some(state) = next.services.get_mut(service) {
            state.epoch = epoch;
        }
        next.verify()?;
        Ok(next)
    }

    fn change(&mut self, command: &Command, now_ms: u64) -> Result<(), Refusal> {
        match command {
            Command::RouteSet { epoch, route, step } => self.set_route(*epoch, route, step.as_ref()),
            Command::RouteRemove { epoch, service } => {
                self.service(service)?;
                self.services.remove(service);
                self.fences.insert(service.clone(), *epoch);
                while self.fences.len() > FENCES_MAX {
                    self.fences.pop_first();
                }
                Ok(())
            }
            Command::TargetsSet { service, step, .. } => {
                self.service(service)?.begin_step(step);
                Ok(())
            }
            Command::Switch { service, target, .. } => self.service(service)?.switch(target),
            Command::Drain { service, target, .. } => self.service(service)?.drain(target, now_ms),
            Command::Hold { service, max_requests, max_wait, until_released, .. } => {
                validate::hold(*max_requests, max_wait.0)?;
                let until_ms = now_ms.saturating_add(u64::try_from(max_wait.0.as_millis()).unwrap_or(u64::MAX));
                let (max_requests, max_wait, until_released) = (*max_requests, *max_wait, *until_released);
                self.service(service)?.hold = Some(HoldState { max_requests, max_wait, until_ms, until_released });
                Ok(())
            }
            Command::Release { service, .. } => {
                self.service(service)?.release();
                Ok(())
            }
            Command::Mirror { service, mirror, .. } => {
                self.service(service)?.mirror = mirror.clone();
                Ok(())
            }
            Command::Stats { .. } | Command::Show | Command::Status | Command::Upgrade { .. } | Command::ReloadTls => {
                Ok(())
            }
        }
    }

    fn set_route(&mut self, epoch: u64, route: &Route, step: Option<&Targets>) -> Result<(), Refusal> {
        let route = validate::route(route)?;
        let state = self.services.entry(route.service.clone()).or_insert_with(|| ServiceState {
            epoch,
            route: route.clone(),
            step: 0,
            targets: Vec::new(),
            sticky: false,
            canary: None,
            mirror: None,
            hold: None,
            draining: BTreeSet::new(),
        });
        self.fences.remove(&route.service);
        state.route = route;
        if let Some(step) = step {
            state.begin_step(step);
        }
        Ok(())
    }

    fn service(&mut self, service: &str) -> Result<&mut ServiceState, Refusal> {
        self.services.get_mut(service).ok_or_else(|| Refusal::not_found(format!("no route for service `{service}`")))
    }

    /// Checks that all routes are valid and do not conflict.
    ///
    /// # Errors
    /// With the first problem.
    pub fn verify(&self) -> Result<(), Refusal> {
        if self.services.len() > SERVICES_MAX {
            return Err(Refusal::invalid(format!("more than {SERVICES_MAX} services")));
        }
        let mut taken = BTreeMap::new();
        for (name, state) in &self.services {
            let route = validate::route(&state.route)?;
            if route.service != *name {
                return Err(Refusal::invalid(format!("service `{name}` has the route of `{}`", route.service)));
            }
            for address in std::iter::once(&route.address).chain(&route.also) {
                let key = (address.clone(), route.host.clone(), route.path_prefix.clone());
                if let Some(other) = taken.insert(key, name) {
                    return Err(Refusal::conflict(format!(
                        "`{name}` and `{other}` both claim {}{} on {address}",
                        route.host.as_deref().unwrap_or("every host"),
                        route.path_prefix.as_deref().unwrap_or("/"),
                    )));
                }
            }
            state.verify()?;
        }
        Ok(())
    }
}

impl ServiceState {
    fn begin_step(&mut self, step: &Targets) {
        self.step = self.step.saturating_add(1);
        self.targets.clone_from(&step.targets);
        self.sticky = step.sticky;
        self.canary.clone_from(&step.canary);
        let targets = &self.targets;
        self.draining.retain(|name| targets.iter().any(|target| target.name == *name && target.weight == 0));
    }

    fn switch(&mut self, name: &str) -> Result<(), Refusal> {
        self.target(name)?;
        self.step = self.step.saturating_add(1);
        self.sticky = false;
        self.canary = None;
        self.draining.remove(name);
        for target in &mut self.targets {
            target.weight = u32::from(target.name == name);
        }
        Ok(())
    }

    fn drain(&mut self, name: &str, now_ms: u64) -> Result<(), Refusal> {
        self.target(name)?;
        self.draining.insert(name.to_owned());
        let held = self.hold.as_ref().is_some_and(|hold| hold.is_active(now_ms));
        if !held && !self.live().any(|target| target.name != name) {
            let message = format!("`{name}` is the only target that receives requests: switch or hold first");
            return Err(Refusal::conflict(message));
        }
        Ok(())
    }

    fn release(&mut self) {
        self.hold = None;
        let targets = &self.targets;
        self.draining.retain(|name| targets.iter().any(|target| target.name == *name && target.weight == 0));
    }

    fn target(&self, name: &str) -> Result<&Target, Refusal> {
        self.targets.iter().find(|target| target.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
            let message = format!("`{}` has no target `{name}`; it has: {}", self.route.service, names.join(", "));
            Refusal::not_found(message)
        })
    }

    fn live(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.weight > 0 && !self.draining.contains(&target.name))
    }

    fn verify(&self) -> Result<(), Refusal> {
        validate::targets(&self.route.service, &self.targets)?;
        // A new route may still wait for its first step; afterwards a target must receive requests.
        if self.step > 0 && !self.targets.iter().any(|target| target.weight > 0) {
            let message = format!("`{}` would have no target that receives requests", self.route.service);
            return Err(Refusal::invalid(message));
        }
        if let Some(rule) = &self.canary {
            validate::canary(rule)?;
            self.target(&rule.target)?;
        }
        if let Some(mirror) = &self.mirror {
            validate::mirror(mirror)?;
        }
        Ok(())
    }
}
