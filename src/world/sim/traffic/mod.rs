//! Effects on routes: one model for all drivers, which behaves like the embedded proxy. Knows nothing of how a driver
//! is configured.
//!
//! Faults: a public port that is taken, no healthy target behind the public address, a feature that the driver lacks.

mod probe;
mod response;
mod stats;
mod target;

use super::model::route::SimRoute;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::effect::EffectError;
use crate::effect::container::{Removed, port_taken};
use crate::effect::traffic::{
    DeclareRoute, DrainTarget, Drained, Driver, DriverFeature, ForgetRoute, HoldLimits, HoldTraffic, ListRoutes,
    ListedRoute, MirrorTraffic, RELEASE_WAIT, Released, Route, RouteStatus, RouteView, SetTargets, ShowRoute,
    SwitchTraffic, Target, TargetView, Targets, TrafficEffect, TrafficOutcome, epoch_is_older, only_live_target,
    public_address_failed, route_not_found, unsupported_by_driver,
};
use crate::world::Call;

/// Time until a change is read back and probed.
const CHANGE_MS: u64 = 5;
/// Pause between two checks before a release.
const RELEASE_PAUSE_MS: u64 = 25;
/// Time until requests in flight are complete.
const IN_FLIGHT_MS: u64 = 50;

impl SimHost {
    pub(crate) fn traffic(&mut self, call: &Call, effect: &TrafficEffect) -> Result<TrafficOutcome, EffectError> {
        Ok(match effect {
            TrafficEffect::Route(request) => TrafficOutcome::Route(self.declare_route(call, request)?),
            TrafficEffect::Forget(request) => TrafficOutcome::Forget(self.forget_route(request)?),
            TrafficEffect::Set(request) => TrafficOutcome::Set(self.set_targets(call, request)?),
            TrafficEffect::Switch(request) => TrafficOutcome::Switch(self.switch(call, request)?),
            TrafficEffect::Drain(request) => TrafficOutcome::Drain(self.drain(call, request)?),
            TrafficEffect::Hold(request) => TrafficOutcome::Hold(self.hold(call, request)?),
            TrafficEffect::Release(request) => TrafficOutcome::Release(self.release(call, &request.service)?),
            TrafficEffect::Mirror(request) => TrafficOutcome::Mirror(self.mirror(call, request)?),
            TrafficEffect::Stats(request) => {
                self.only_proxy(&request.service, DriverFeature::Statistics)?;
                TrafficOutcome::Stats(self.traffic_stats(request)?)
            }
            TrafficEffect::Show(request) => TrafficOutcome::Show(self.show_route(request)?),
            TrafficEffect::List(request) => TrafficOutcome::List(self.list_routes(request)),
        })
    }

    fn declare_route(&mut self, call: &Call, request: &DeclareRoute) -> Result<RouteStatus, EffectError> {
        let service = &request.service;
        let route = request.route();
        let port = public_port(&route)?;
        if let Some(existing) = self.routes.get(service) {
            request.check_driver(&existing.driver)?;
        }
        if self.containers.publisher(port).is_some() || self.machine.foreign_listeners.contains_key(&port) {
            return Err(port_taken(port, None, &format!("`{}` cannot listen on it", request.driver)).not_applied());
        }
        self.check_host_is_free(&request.driver, &route)?;
        let fresh = || SimRoute::new(request.driver.clone(), route.clone(), Vec::new());
        let known = self.routes.entry(service.clone()).or_insert_with(fresh);
        known.route = route;
        known.driver = request.driver.clone();
        known.probe.clone_from(&request.probe);
        if request.forget_targets {
            known.targets.clear();
            known.draining.clear();
        }
        self.route_for_change(call, service)?;
        self.route_status(service)
    }

    fn forget_route(&mut self, request: &ForgetRoute) -> Result<Removed, EffectError> {
        match self.routes.remove(&request.service) {
            None if !request.missing_ok && !request.driver_gone => Err(route_not_found(&request.service)),
            found => Ok(Removed { removed: found.is_some() }),
        }
    }

    fn set_targets(&mut self, call: &Call, request: &SetTargets) -> Result<RouteStatus, EffectError> {
        let service = &request.service;
        let driver = self.route_of(service)?.driver.clone();
        let targets = request.targets.iter().map(|spec| self.route_target(spec)).collect::<Result<Vec<_>, _>>()?;
        request.check_weights(&targets)?;
        let step = Targets { targets, sticky: request.sticky, canary: request.canary.clone() };
        self.check_driver_supports(&driver, &step)?;
        let known = self.route_for_change(call, service)?;
        known.targets = step.targets;
        known.sticky = step.sticky;
        known.canary = step.canary;
        let targets = &known.targets;
        known.draining.retain(|name| targets.iter().any(|target| target.name == *name && target.weight == 0));
        self.probe_route(service)?;
        self.route_status(service)
    }

    fn switch(&mut self, call: &Call, request: &SwitchTraffic) -> Result<RouteStatus, EffectError> {
        let name = self.find_target(&request.service, &request.target)?;
        let known = self.route_for_change(call, &request.service)?;
        known.sticky = false;
        known.canary = None;
        known.draining.remove(&name);
        for target in &mut known.targets {
            target.weight = u32::from(target.name == name);
        }
        self.probe_route(&request.service)?;
        self.route_status(&request.service)
    }

    pub(crate) fn drain(&mut self, call: &Call, request: &DrainTarget) -> Result<Drained, EffectError> {
        let name = self.find_target(&request.service, &request.target)?;
        let now = self.now();
        let known = self.route_for_change(call, &request.service)?;
        let others = known
            .targets
            .iter()
            .any(|other| other.name != name && other.weight > 0 && !known.draining.contains(&other.name));
        if !others && !known.is_closed(now) {
            return Err(only_live_target(&name, matches!(known.driver, Driver::Proxy(_))));
        }
        known.draining.insert(name);
        let waited_ms = IN_FLIGHT_MS.min(whole_ms(request.deadline.0));
        self.advance(waited_ms);
        Ok(Drained { waited_ms, requests_cut: 0, streams_cut: 0 })
    }

    fn hold(&mut self, call: &Call, request: &HoldTraffic) -> Result<RouteStatus, EffectError> {
        self.only_proxy(&request.service, DriverFeature::Hold)?;
        let until = self.now() + whole_ms(request.max_wait.0);
        let known = self.route_for_change(call, &request.service)?;
        known.held_until = Some(until);
        known.hold = Some(HoldLimits {
            max_requests: request.max_requests,
            max_wait: request.max_wait,
            until_released: request.until_released,
        });
        self.route_status(&request.service)
    }

    fn release(&mut self, call: &Call, service: &str) -> Result<Released, EffectError> {
        self.only_proxy(service, DriverFeature::Hold)?;
        self.route_for_change(call, service)?;
        let end = self.now() + whole_ms(RELEASE_WAIT);
        while self.now() < end && self.route_of(service)?.is_closed(self.now()) && !self.has_healthy_target(service)? {
            self.advance(RELEASE_PAUSE_MS);
        }
        let known = self.route_for_change(call, service)?;
        known.held_until = None;
        known.hold = None;
        let targets = &known.targets;
        known.draining.retain(|name| targets.iter().any(|target| target.name == *name && target.weight == 0));
        Ok(Released { waiting: 0, turned_away: 0 })
    }

    fn has_healthy_target(&self, service: &str) -> Result<bool, EffectError> {
        let route = self.route_of(service)?;
        let path = route.route.check.path.as_deref().unwrap_or("/");
        let mut live = route.targets.iter().filter(|target| target.weight > 0);
        Ok(live.any(|target| self.target_response(target, path).is_some_and(|found| found.response.status < 400)))
    }

    fn mirror(&mut self, call: &Call, request: &MirrorTraffic) -> Result<RouteStatus, EffectError> {
        self.only_proxy(&request.service, DriverFeature::Mirror)?;
        self.route_for_change(call, &request.service)?.mirror = request.mirror();
        self.route_status(&request.service)
    }

    fn show_route(&self, request: &ShowRoute) -> Result<Option<RouteStatus>, EffectError> {
        match self.route_status(&request.service) {
            Ok(found) => Ok(Some(found)),
            Err(_) if request.missing_ok => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list_routes(&self, request: &ListRoutes) -> Vec<ListedRoute> {
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
            wanted.as_ref().is_none_or(refers).then(|| ListedRoute {
                service: service.clone(),
                driver: known.driver.clone(),
                view: Some(view.clone()),
                error: None,
            })
        };
        self.routes.iter().filter_map(listed).collect()
    }

    pub(crate) fn route_of(&self, service: &str) -> Result<&SimRoute, EffectError> {
        self.routes.get(service).ok_or_else(|| route_not_found(service))
    }

    /// Returns the route for a change by this run. A change with an older epoch than the last one is refused.
    fn route_for_change(&mut self, call: &Call, service: &str) -> Result<&mut SimRoute, EffectError> {
        self.clock.advance(std::time::Duration::from_millis(CHANGE_MS));
        self.count_requests(service);
        let known = self.routes.get_mut(service).ok_or_else(|| route_not_found(service))?;
        let epoch = call.epoch.unwrap_or(known.epoch);
        if epoch < known.epoch {
            return Err(epoch_is_older(service, known.epoch, epoch));
        }
        known.epoch = epoch;
        Ok(known)
    }

    fn only_proxy(&self, service: &str, feature: DriverFeature) -> Result<(), EffectError> {
        match &self.route_of(service)?.driver {
            Driver::Proxy(_) => Ok(()),
            other => Err(unsupported_by_driver(other, feature)),
        }
    }

    /// Sends a request through the public address.
    fn probe_route(&mut self, service: &str) -> Result<(), EffectError> {
        let route = self.route_of(service)?;
        if route.is_closed(self.now()) {
            return Ok(());
        }
        let path = route.route.check.path.clone().unwrap_or_else(|| "/".into());
        let answered = route.serving_order().filter(|target| target.weight > 0).find_map(|target| {
            let response = self.target_response(target, &path)?.response;
            (response.status < 500).then(|| (target.name.clone(), response.takes_ms))
        });
        let Some((name, takes_ms)) = answered else {
            return Err(public_address_failed(service, &route.route.address, "no target answered without an error"));
        };
        self.advance(takes_ms);
        if let Some(route) = self.routes.get_mut(service) {
            *route.served.entry(name).or_default() += 1;
        }
        Ok(())
    }

    fn route_status(&self, service: &str) -> Result<RouteStatus, EffectError> {
        let known = self.route_of(service)?;
        Ok(RouteStatus {
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
            healthy: self.target_response(target, known.route.check.path.as_deref().unwrap_or("/")).is_some(),
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
            held: known.is_closed(self.now()).then_some(0),
            hold: known.hold.clone().filter(|_| known.is_closed(self.now())),
        }
    }
}

fn public_port(route: &Route) -> Result<u16, EffectError> {
    let port = route.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|port| *port > 0);
    port.ok_or_else(|| {
        let message = format!("`{}` is not a public address such as `0.0.0.0:80`", route.address);
        EffectError::invalid(message)
    })
}
