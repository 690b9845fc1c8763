//! The effects on routes. A change is made by the driver of the route, read back, and probed through the public address.
//!
//! | driver | where |
//! |---|---|
//! | `proxy` | `embedded.rs`: deployer's own proxy |
//! | `nginx` | `nginx/`: an include file |
//! | `haproxy` | `haproxy/`: the runtime socket |
//! | `caddy` | `caddy/`: the admin API |
//!
//! `driver.rs` is their interface, `external_driver.rs` what the last three have in common.

mod caddy;
mod driver;
mod embedded;
mod external_driver;
mod haproxy;
mod nginx;
mod poller;
mod probe;
mod route_handle;
mod state_file;
mod stored_route;
mod targets;

use std::sync::Arc;

use super::http::clients::HttpClients;
use crate::base::labels;
use crate::effect::container::{Container, Removed};
use crate::effect::traffic::{
    DeclareRoute, DrainTarget, Drained, Driver, ForgetRoute, HoldTraffic, ListRoutes, ListedRoute, MirrorTraffic,
    Released, RouteStatus, SetTargets, ShowRoute, SwitchTraffic, Targets, TrafficEffect, TrafficOutcome,
    route_not_found,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::{Engine, RouteRecord};
use caddy::CaddyAdminDriver;
use driver::TrafficDriver;
use embedded::EmbeddedProxyDriver;
use haproxy::HaproxyRuntimeDriver;
use nginx::NginxIncludeDriver;
use probe::PublicProbe;
use route_handle::RouteHandle;
use targets::TargetResolver;

/// Performs the effects on routes.
pub(crate) struct TrafficService {
    engine: Arc<dyn Engine>,
    clients: Arc<HttpClients>,
    clock: Arc<dyn Clock>,
    targets: TargetResolver,
    probe: PublicProbe,
}

impl TrafficService {
    pub(crate) fn new(engine: Arc<dyn Engine>, clients: Arc<HttpClients>, clock: Arc<dyn Clock>) -> Self {
        let targets = TargetResolver::new(Arc::clone(&engine));
        let probe = PublicProbe::new(Arc::clone(&clients), Arc::clone(&clock));
        Self { engine, clients, clock, targets, probe }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &TrafficEffect) -> Result<TrafficOutcome, EffectError> {
        Ok(match effect {
            TrafficEffect::Route(request) => TrafficOutcome::Route(self.declare_route(call, request).await?),
            TrafficEffect::Forget(request) => TrafficOutcome::Forget(self.forget_route(call, request).await?),
            TrafficEffect::Set(request) => TrafficOutcome::Set(self.set_targets(call, request).await?),
            TrafficEffect::Switch(request) => TrafficOutcome::Switch(self.switch(call, request).await?),
            TrafficEffect::Drain(request) => TrafficOutcome::Drain(self.drain(call, request).await?),
            TrafficEffect::Hold(request) => TrafficOutcome::Hold(self.hold(call, request).await?),
            TrafficEffect::Release(request) => TrafficOutcome::Release(self.release(call, &request.service).await?),
            TrafficEffect::Mirror(request) => TrafficOutcome::Mirror(self.mirror(call, request).await?),
            TrafficEffect::Stats(request) => {
                let handle = self.handle(&request.service).await?;
                TrafficOutcome::Stats(handle.driver.stats(call, &request.service, request.window.0).await?)
            }
            TrafficEffect::Show(request) => TrafficOutcome::Show(self.show_route(call, request).await?),
            TrafficEffect::List(request) => TrafficOutcome::List(self.list_routes(call, request).await?),
        })
    }

    async fn declare_route(&self, call: &Call, request: &DeclareRoute) -> Result<RouteStatus, EffectError> {
        let service = &request.service;
        let previous = self.record(service).await?;
        if let Some(previous) = &previous {
            request.check_driver(&previous.driver)?;
        }
        let record =
            RouteRecord { service: service.clone(), driver: request.driver.clone(), probe: request.probe.clone() };
        // Written before the driver declares the route: without it, the route could not be rolled back.
        self.engine.record_route(call, &record).await?;
        let handle = RouteHandle { driver: self.driver(&record.driver)?, record };
        if let Err(error) = handle.driver.declare(call, &request.route(), request.forget_targets).await {
            // The driver has no route, and a record of one would protect its containers for nothing.
            if previous.is_none() && error.applied == Applied::No {
                self.engine.remove_route(service).await?;
            }
            return Err(error);
        }
        handle.status(call).await
    }

    async fn forget_route(&self, call: &Call, request: &ForgetRoute) -> Result<Removed, EffectError> {
        let service = &request.service;
        let Some(record) = self.record(service).await? else {
            return if request.missing_ok || request.driver_gone {
                Ok(Removed { removed: false })
            } else {
                Err(route_not_found(service))
            };
        };
        let removed = match self.driver(&record.driver)?.forget(call, service).await {
            Ok(removed) => removed,
            // A conflict is the answer of a driver that exists: it refuses an outdated run.
            Err(error) if request.driver_gone && error.kind != ErrorKind::Conflict => true,
            Err(error) => return Err(error),
        };
        self.engine.remove_route(service).await?;
        Ok(Removed { removed })
    }

    async fn set_targets(&self, call: &Call, request: &SetTargets) -> Result<RouteStatus, EffectError> {
        let handle = self.handle(&request.service).await?;
        let targets = self.targets.resolve(request).await?;
        self.apply_targets(call, &handle, targets).await
    }

    async fn switch(&self, call: &Call, request: &SwitchTraffic) -> Result<RouteStatus, EffectError> {
        let handle = self.handle(&request.service).await?;
        let view = handle.view(call).await?;
        let name = self.targets.target_name(&view, &request.target).await?;
        let mut targets = Targets { sticky: false, canary: None, ..view.step() };
        for target in &mut targets.targets {
            target.weight = u32::from(target.name == name);
        }
        self.apply_targets(call, &handle, targets).await
    }

    /// Sets the targets, reads them back, and probes the public address.
    async fn apply_targets(
        &self,
        call: &Call,
        handle: &RouteHandle,
        targets: Targets,
    ) -> Result<RouteStatus, EffectError> {
        let service = &handle.record.service;
        let before = handle.view(call).await?;
        handle.driver.set(call, service, &targets).await?;
        let after = handle.view(call).await?;
        if after.step() != targets {
            let message = format!("`{}` has other targets for `{service}` than those set", handle.driver.kind());
            return Err(EffectError::new(ErrorKind::Failed, message)
                .hint("another program may change it, too; see its targets: `traffic_show`")
                .detail(format!("set: {targets:?}\nhas: {:?}", after.step())));
        }
        self.probe.verify(call, handle, &before, &after).await?;
        handle.status(call).await
    }

    async fn drain(&self, call: &Call, request: &DrainTarget) -> Result<Drained, EffectError> {
        let handle = self.handle(&request.service).await?;
        let view = handle.view(call).await?;
        let target = self.targets.target_name(&view, &request.target).await?;
        handle.driver.drain(call, &DrainTarget { target, ..request.clone() }).await
    }

    async fn hold(&self, call: &Call, request: &HoldTraffic) -> Result<RouteStatus, EffectError> {
        let handle = self.handle(&request.service).await?;
        handle.driver.hold(call, request).await?;
        handle.status(call).await
    }

    async fn release(&self, call: &Call, service: &str) -> Result<Released, EffectError> {
        let handle = self.handle(service).await?;
        let view = handle.view(call).await?;
        if view.held.is_some() {
            self.probe.until_a_target_answers(call, &view).await?;
        }
        handle.driver.release(call, service).await
    }

    async fn mirror(&self, call: &Call, request: &MirrorTraffic) -> Result<RouteStatus, EffectError> {
        let handle = self.handle(&request.service).await?;
        handle.driver.mirror(call, &request.service, request.mirror().as_ref()).await?;
        handle.status(call).await
    }

    async fn show_route(&self, call: &Call, request: &ShowRoute) -> Result<Option<RouteStatus>, EffectError> {
        let Some(record) = self.record(&request.service).await? else {
            return if request.missing_ok { Ok(None) } else { Err(route_not_found(&request.service)) };
        };
        let handle = RouteHandle { driver: self.driver(&record.driver)?, record };
        match handle.driver.show(call, &request.service).await? {
            Some(view) => Ok(Some(handle.with_view(view))),
            None if request.missing_ok => Ok(None),
            None => Err(handle.lost()),
        }
    }

    async fn list_routes(&self, call: &Call, request: &ListRoutes) -> Result<Vec<ListedRoute>, EffectError> {
        let records = self.engine.routes().await?;
        let container = match &request.container {
            Some(container) if !records.is_empty() => match self.engine.find_container(container).await? {
                Some(found) => Some(found),
                None => return Ok(Vec::new()),
            },
            _ => None,
        };
        let mut listed = Vec::new();
        for record in records {
            let shown = match self.driver(&record.driver) {
                Ok(driver) => driver.show(call, &record.service).await,
                Err(error) => Err(error),
            };
            let (view, error) = match shown {
                Ok(view) => (view, None),
                Err(error) => (None, Some(error)),
            };
            let matches = match (&container, &view) {
                (Some(container), Some(view)) => self.targets.refers_to(view, container).await,
                // A route that cannot be read may refer to any container of its service, but not to others.
                (Some(container), None) => error.is_some() && belongs_to(container, &record.service),
                (None, _) => true,
            };
            if matches {
                listed.push(ListedRoute { service: record.service, driver: record.driver, view, error });
            }
        }
        Ok(listed)
    }

    /// Creates the driver of a route. Sends nothing yet.
    fn driver(&self, driver: &Driver) -> Result<Box<dyn TrafficDriver>, EffectError> {
        let clock = || Arc::clone(&self.clock);
        Ok(match driver {
            Driver::Proxy(driver) => Box::new(EmbeddedProxyDriver::new(driver)),
            Driver::Nginx(driver) => Box::new(NginxIncludeDriver::new(driver, self.clients.probe()?.clone(), clock())),
            Driver::Haproxy(driver) => Box::new(HaproxyRuntimeDriver::new(driver, clock())),
            Driver::Caddy(driver) => Box::new(CaddyAdminDriver::new(driver, self.clients.probe()?.clone(), clock())),
        })
    }

    async fn record(&self, service: &str) -> Result<Option<RouteRecord>, EffectError> {
        Ok(self.engine.routes().await?.into_iter().find(|record| record.service == service))
    }

    async fn handle(&self, service: &str) -> Result<RouteHandle, EffectError> {
        let record = self.record(service).await?.ok_or_else(|| route_not_found(service))?;
        Ok(RouteHandle { driver: self.driver(&record.driver)?, record })
    }
}

fn belongs_to(container: &Container, service: &str) -> bool {
    container.name == service || container.labels.get(labels::SERVICE).is_some_and(|label| label == service)
}
