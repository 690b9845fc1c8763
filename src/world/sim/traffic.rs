//! Routes in the simulated world: one model for all drivers, which does what the embedded proxy does. Knows nothing of
//! how a driver is told.
//!
//! Faults: a driver that does not answer, a public port that is taken, nobody well behind the public address, a driver
//! that cannot do it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use super::traffic_targets::unsupported;
use crate::effect::container::Removed;
use crate::effect::traffic::{
    CanaryRule, DeclareRoute, DrainTarget, Drained, Driver, ForgetRoute, HoldTraffic, ListRoutes, Listed, Mirror,
    MirrorTraffic, Released, Route, RouteView, SetTargets, ShowRoute, Standing, SwitchTraffic, Target, TargetView,
    Targets, TrafficEffect, TrafficOutcome,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What a change takes until it is read back and proved.
const CHANGE_MS: u64 = 5;
/// What the requests in flight take to end.
const IN_FLIGHT_MS: u64 = 50;

/// A route and its targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimRoute {
    pub driver: Driver,
    pub route: Route,
    #[serde(default)]
    pub probe: Option<String>,
    #[serde(default)]
    pub epoch: u64,
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    pub sticky: bool,
    #[serde(default)]
    pub canary: Option<CanaryRule>,
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// The instant of the clock at which a hold ends by itself.
    #[serde(default)]
    pub held_until: Option<u64>,
    #[serde(default)]
    pub draining: BTreeSet<String>,
    /// Probes that each target answered.
    #[serde(default)]
    pub served: BTreeMap<String, u64>,
}

/// Routes by service.
pub(super) type Routes = BTreeMap<String, SimRoute>;

impl SimRoute {
    pub fn new(driver: Driver, route: Route, targets: Vec<Target>) -> Self {
        Self {
            driver,
            route,
            probe: None,
            epoch: 0,
            targets,
            sticky: false,
            canary: None,
            mirror: None,
            held_until: None,
            draining: BTreeSet::new(),
            served: BTreeMap::new(),
        }
    }

    /// Whether it is reached at this port of the host.
    pub(super) fn listens(&self, port: u16) -> bool {
        let all = std::iter::once(&self.route.address).chain(&self.route.also);
        all.filter_map(|address| address.rsplit_once(':')).any(|(_, own)| own.parse() == Ok(port))
    }

    pub(super) fn weights(&self) -> BTreeMap<String, u32> {
        self.targets.iter().map(|target| (target.name.clone(), target.weight)).collect()
    }

    pub(super) fn is_held(&self, now: u64) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// Those who get requests; the warm ones when nobody else is there.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Target> {
        let live = |target: &&Target| target.weight > 0 && !self.draining.contains(&target.name);
        let warm = |target: &&Target| target.weight == 0 && !self.draining.contains(&target.name);
        self.targets.iter().filter(live).chain(self.targets.iter().filter(warm))
    }
}

impl SimHost {
    pub(super) fn traffic(&mut self, call: &Call, effect: &TrafficEffect) -> Result<TrafficOutcome, EffectError> {
        Ok(match effect {
            TrafficEffect::Route(request) => TrafficOutcome::Route(self.declare_route(call, request)?),
            TrafficEffect::Forget(request) => TrafficOutcome::Forget(self.forget_route(request)?),
            TrafficEffect::Set(request) => TrafficOutcome::Set(self.set_targets(call, request)?),
            TrafficEffect::Switch(request) => TrafficOutcome::Switch(self.switch(call, request)?),
            TrafficEffect::Drain(request) => TrafficOutcome::Drain(self.drain(call, request)?),
            TrafficEffect::Hold(request) => TrafficOutcome::Hold(self.hold(call, request)?),
            TrafficEffect::Release(request) => {
                self.only_proxy(&request.service, "hold requests")?;
                self.commanded(call, &request.service)?.held_until = None;
                TrafficOutcome::Release(Released { waiting: 0, turned_away: 0 })
            }
            TrafficEffect::Mirror(request) => TrafficOutcome::Mirror(self.mirror(call, request)?),
            TrafficEffect::Stats(request) => {
                self.only_proxy(&request.service, "tell figures of the last seconds")?;
                TrafficOutcome::Stats(self.traffic_stats(request)?)
            }
            TrafficEffect::Show(request) => TrafficOutcome::Show(self.show_route(request)?),
            TrafficEffect::List(request) => TrafficOutcome::List(self.list_routes(request)),
        })
    }

    fn declare_route(&mut self, call: &Call, request: &DeclareRoute) -> Result<Standing, EffectError> {
        let service = &request.service;
        let route = request.route();
        let port = public_port(&route)?;
        if let Some(other) = self.routes.get(service).filter(|known| known.driver.kind() != request.driver.kind()) {
            let message = format!("the route of `{service}` is driven by `{}`", other.driver);
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint(format!("take it away first: `traffic_forget(\"{service}\")`"))
                .not_applied());
        }
        if self.containers.publisher(port).is_some() || self.machine.strangers.contains_key(&port) {
            let message = format!("port {port} is taken, so `{}` cannot listen on it", request.driver);
            return Err(EffectError::new(ErrorKind::PortTaken, message)
                .hint(format!("see who has it: ss -ltnp 'sport = :{port}'"))
                .not_applied());
        }
        self.neighbour(&request.driver, &route)?;
        let fresh = || SimRoute::new(request.driver.clone(), route.clone(), Vec::new());
        let known = self.routes.entry(service.clone()).or_insert_with(fresh);
        known.route = route;
        known.driver = request.driver.clone();
        known.probe.clone_from(&request.probe);
        if request.anew {
            known.targets.clear();
            known.draining.clear();
        }
        self.commanded(call, service)?;
        self.standing(service)
    }

    fn forget_route(&mut self, request: &ForgetRoute) -> Result<Removed, EffectError> {
        match self.routes.remove(&request.service) {
            None if !request.missing_ok && !request.driver_gone => Err(unknown(&request.service)),
            found => Ok(Removed { removed: found.is_some() }),
        }
    }

    fn set_targets(&mut self, call: &Call, request: &SetTargets) -> Result<Standing, EffectError> {
        let service = &request.service;
        let driver = self.route_of(service)?.driver.clone();
        let targets = request.targets.iter().map(|spec| self.route_target(spec)).collect::<Result<Vec<_>, _>>()?;
        if targets.iter().all(|target| target.weight == 0) {
            let message = format!("nobody would get the requests of `{service}`: every weight is 0");
            return Err(EffectError::new(ErrorKind::Invalid, message)
                .hint("give one target a `weight` above 0, or take the route away with `traffic_forget`")
                .not_applied());
        }
        let step = Targets { targets, sticky: request.sticky, canary: request.canary.clone() };
        self.plain_step(&driver, &step)?;
        let known = self.commanded(call, service)?;
        known.targets = step.targets;
        known.sticky = step.sticky;
        known.canary = step.canary;
        let targets = &known.targets;
        known.draining.retain(|name| targets.iter().any(|target| target.name == *name && target.weight == 0));
        self.prove(service)?;
        self.standing(service)
    }

    fn switch(&mut self, call: &Call, request: &SwitchTraffic) -> Result<Standing, EffectError> {
        let name = self.target_called(&request.service, &request.target)?;
        let known = self.commanded(call, &request.service)?;
        known.sticky = false;
        known.canary = None;
        known.draining.remove(&name);
        for target in &mut known.targets {
            target.weight = u32::from(target.name == name);
        }
        self.prove(&request.service)?;
        self.standing(&request.service)
    }

    fn drain(&mut self, call: &Call, request: &DrainTarget) -> Result<Drained, EffectError> {
        let name = self.target_called(&request.service, &request.target)?;
        let now = self.now();
        let known = self.commanded(call, &request.service)?;
        let others = known
            .targets
            .iter()
            .any(|other| other.name != name && other.weight > 0 && !known.draining.contains(&other.name));
        if !others && !known.is_held(now) {
            let message = format!("`{name}` is the only target that gets requests: switch or hold first");
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        known.draining.insert(name);
        let waited_ms = IN_FLIGHT_MS.min(whole_ms(request.deadline.0));
        self.pass(waited_ms);
        Ok(Drained { waited_ms, requests_cut: 0, streams_cut: 0 })
    }

    fn hold(&mut self, call: &Call, request: &HoldTraffic) -> Result<Standing, EffectError> {
        self.only_proxy(&request.service, "hold requests")?;
        let until = self.now() + whole_ms(request.max_wait.0);
        self.commanded(call, &request.service)?.held_until = Some(until);
        self.standing(&request.service)
    }

    fn mirror(&mut self, call: &Call, request: &MirrorTraffic) -> Result<Standing, EffectError> {
        self.only_proxy(&request.service, "mirror requests")?;
        self.commanded(call, &request.service)?.mirror = request.mirror();
        self.standing(&request.service)
    }

    fn show_route(&self, request: &ShowRoute) -> Result<Option<Standing>, EffectError> {
        match self.standing(&request.service) {
            Ok(found) => Ok(Some(found)),
            Err(_) if request.missing_ok => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list_routes(&self, request: &ListRoutes) -> Vec<Listed> {
        let wanted = match &request.container {
            Some(container) => match self.containers.find(container) {
                Some(found) => Some(self.view(found)),
                None => return Vec::new(),
            },
            None => None,
        };
        let listed = |(service, known): (&String, &SimRoute)| {
            let view = self.route_view(known);
            let refers = |container| view.targets.iter().any(|target| target.is_at(container));
            wanted.as_ref().is_none_or(refers).then(|| Listed {
                service: service.clone(),
                driver: known.driver.clone(),
                view: Some(view.clone()),
                error: None,
            })
        };
        self.routes.iter().filter_map(listed).collect()
    }

    pub(super) fn route_of(&self, service: &str) -> Result<&SimRoute, EffectError> {
        self.routes.get(service).ok_or_else(|| unknown(service))
    }

    /// The route, to be changed by this run; an older one's command is refused after a newer one's.
    fn commanded(&mut self, call: &Call, service: &str) -> Result<&mut SimRoute, EffectError> {
        self.clock.advance(std::time::Duration::from_millis(CHANGE_MS));
        self.count_visits(service);
        let known = self.routes.get_mut(service).ok_or_else(|| unknown(service))?;
        let epoch = call.epoch.unwrap_or(known.epoch);
        if epoch < known.epoch {
            let message = format!("`{service}` was commanded with epoch {} already; {epoch} is older", known.epoch);
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        known.epoch = epoch;
        Ok(known)
    }

    fn only_proxy(&self, service: &str, what: &str) -> Result<(), EffectError> {
        match &self.route_of(service)?.driver {
            Driver::Proxy(_) => Ok(()),
            other => Err(unsupported(other, what)),
        }
    }

    /// A request through the public address.
    fn prove(&mut self, service: &str) -> Result<(), EffectError> {
        let route = self.route_of(service)?;
        if route.is_held(self.now()) {
            return Ok(());
        }
        let path = route.route.check.path.clone().unwrap_or_else(|| "/".into());
        let answered = route.in_turn().filter(|target| target.weight > 0).find_map(|target| {
            let page = self.answer_of(target, &path)?.page;
            (page.status < 500).then(|| (target.name.clone(), page.takes_ms))
        });
        let Some((name, takes_ms)) = answered else {
            let address = &route.route.address;
            let message = format!("`{service}` does not answer at its public address {address} as it should");
            return Err(EffectError::new(ErrorKind::Unhealthy, message)
                .hint("see who gets its requests: `traffic_show`, `deployer proxy status`"));
        };
        self.pass(takes_ms);
        if let Some(route) = self.routes.get_mut(service) {
            *route.served.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn standing(&self, service: &str) -> Result<Standing, EffectError> {
        let known = self.route_of(service)?;
        Ok(Standing {
            service: service.to_owned(),
            driver: known.driver.clone(),
            probe: known.probe.clone(),
            view: self.route_view(known),
        })
    }

    fn route_view(&self, known: &SimRoute) -> RouteView {
        let counts = matches!(known.driver, Driver::Proxy(_) | Driver::Haproxy(_));
        let target = |target: &Target| TargetView {
            name: target.name.clone(),
            address: target.address.clone(),
            weight: target.weight,
            healthy: self.answer_of(target, known.route.check.path.as_deref().unwrap_or("/")).is_some(),
            draining: known.draining.contains(&target.name),
            in_flight: 0,
            streams: 0,
            served: counts.then(|| known.served.get(&target.name).copied().unwrap_or(0)),
        };
        RouteView {
            route: known.route.clone(),
            epoch: known.epoch,
            targets: known.targets.iter().map(target).collect(),
            sticky: known.sticky,
            canary: known.canary.clone(),
            mirror: known.mirror.clone(),
            held: known.is_held(self.now()).then_some(0),
        }
    }
}

fn public_port(route: &Route) -> Result<u16, EffectError> {
    let port = route.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| *port > 0);
    port.ok_or_else(|| {
        let message = format!("`{}` is not a public address such as `0.0.0.0:80`", route.address);
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    })
}

fn unknown(service: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("no route of service `{service}` is known on this host"))
        .hint(format!("declare it first: `traffic_route(#{{service: \"{service}\", address: \"0.0.0.0:80\"}})`"))
        .not_applied()
}
