//! The family of traffic: finds the driver of a route, tells it, reads back what it made of it, and asks through the
//! public address. Knows no script; which drivers there are is in `driver_of`.

mod caddy;
mod driver;
mod haproxy;
mod kept_driver;
mod kept_file;
mod kept_route;
mod nginx;
mod patience;
mod probe;
mod proxy;
mod resolve;

use std::sync::Arc;

use super::Services;
use crate::base::labels;
use crate::effect::container::{Container, Removed};
use crate::effect::traffic::{
    DeclareRoute, DrainTarget, Drained, Driver, ForgetRoute, HoldTraffic, ListRoutes, Listed, MirrorTraffic, Released,
    RouteView, SetTargets, ShowRoute, Standing, SwitchTraffic, Targets, TrafficEffect, TrafficOutcome,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::RouteNote;
use caddy::CaddyAdmin;
use driver::TrafficDriver;
use haproxy::HaproxyRuntime;
use nginx::NginxInclude;
use proxy::ProxyControl;

/// A route of this host and its driver.
struct Known {
    note: RouteNote,
    driver: Box<dyn TrafficDriver>,
}

impl Services {
    pub(super) async fn traffic(&self, call: &Call, effect: &TrafficEffect) -> Result<TrafficOutcome, EffectError> {
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
                let known = self.known(&request.service).await?;
                TrafficOutcome::Stats(known.driver.stats(call, &request.service, request.window.0).await?)
            }
            TrafficEffect::Show(request) => TrafficOutcome::Show(self.show_route(call, request).await?),
            TrafficEffect::List(request) => TrafficOutcome::List(self.list_routes(call, request).await?),
        })
    }

    async fn declare_route(&self, call: &Call, request: &DeclareRoute) -> Result<Standing, EffectError> {
        let service = &request.service;
        let former = self.note(service).await?;
        if let Some(former) = former.as_ref().filter(|former| former.driver.kind() != request.driver.kind()) {
            let message = format!("the route of `{service}` is driven by `{}`", former.driver);
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint(format!("take it away first: `traffic_forget(\"{service}\")`"))
                .not_applied());
        }
        let note = RouteNote { service: service.clone(), driver: request.driver.clone(), probe: request.probe.clone() };
        // First of all: what was declared and is not written down could not be taken back.
        self.engine.keep_route(call, &note).await?;
        let known = Known { driver: self.driver_of(&note.driver)?, note };
        if let Err(error) = known.driver.declare(call, &request.route(), request.anew).await {
            // A driver that was never told has no route: a note of one would keep everybody from its containers.
            if former.is_none() && error.applied == Applied::No {
                self.engine.drop_route(service).await?;
            }
            return Err(error);
        }
        self.standing(call, known).await
    }

    async fn forget_route(&self, call: &Call, request: &ForgetRoute) -> Result<Removed, EffectError> {
        let service = &request.service;
        let Some(note) = self.note(service).await? else {
            return if request.missing_ok || request.driver_gone {
                Ok(Removed { removed: false })
            } else {
                Err(unknown(service))
            };
        };
        let removed = match self.driver_of(&note.driver)?.forget(call, service).await {
            Ok(removed) => removed,
            // A driver that refuses a run whose time is over is not gone.
            Err(error) if request.driver_gone && error.kind != ErrorKind::Conflict => true,
            Err(error) => return Err(error),
        };
        self.engine.drop_route(service).await?;
        Ok(Removed { removed })
    }

    async fn set_targets(&self, call: &Call, request: &SetTargets) -> Result<Standing, EffectError> {
        let known = self.known(&request.service).await?;
        let step = self.step(request).await?;
        self.steer(call, known, step).await
    }

    async fn switch(&self, call: &Call, request: &SwitchTraffic) -> Result<Standing, EffectError> {
        let known = self.known(&request.service).await?;
        let view = self.view(call, &known).await?;
        let name = self.target_called(&view, &request.target).await?;
        let mut step = Targets { sticky: false, canary: None, ..view.step() };
        for target in &mut step.targets {
            target.weight = u32::from(target.name == name);
        }
        self.steer(call, known, step).await
    }

    /// Set, read back, probe.
    async fn steer(&self, call: &Call, known: Known, step: Targets) -> Result<Standing, EffectError> {
        let service = known.note.service.clone();
        let before = self.view(call, &known).await?;
        known.driver.set(call, &service, &step).await?;
        let after = self.view(call, &known).await?;
        if after.step() != step {
            let kind = known.driver.kind();
            let message = format!("`{kind}` does not have the targets of `{service}` that it was told");
            return Err(EffectError::new(ErrorKind::Failed, message)
                .hint("somebody else may change it too; see what it has: `traffic_show`")
                .detail(format!("told: {step:?}\nhas:  {:?}", after.step())));
        }
        self.prove(call, &known, &before, &after).await?;
        self.standing(call, known).await
    }

    async fn drain(&self, call: &Call, request: &DrainTarget) -> Result<Drained, EffectError> {
        let known = self.known(&request.service).await?;
        let view = self.view(call, &known).await?;
        let target = self.target_called(&view, &request.target).await?;
        known.driver.drain(call, &DrainTarget { target, ..request.clone() }).await
    }

    async fn hold(&self, call: &Call, request: &HoldTraffic) -> Result<Standing, EffectError> {
        let known = self.known(&request.service).await?;
        known.driver.hold(call, request).await?;
        self.standing(call, known).await
    }

    async fn release(&self, call: &Call, service: &str) -> Result<Released, EffectError> {
        self.known(service).await?.driver.release(call, service).await
    }

    async fn mirror(&self, call: &Call, request: &MirrorTraffic) -> Result<Standing, EffectError> {
        let known = self.known(&request.service).await?;
        known.driver.mirror(call, &request.service, request.mirror().as_ref()).await?;
        self.standing(call, known).await
    }

    async fn show_route(&self, call: &Call, request: &ShowRoute) -> Result<Option<Standing>, EffectError> {
        let Some(note) = self.note(&request.service).await? else {
            return if request.missing_ok { Ok(None) } else { Err(unknown(&request.service)) };
        };
        let known = Known { driver: self.driver_of(&note.driver)?, note };
        match known.driver.show(call, &request.service).await? {
            Some(view) => Ok(Some(known.with(view))),
            None if request.missing_ok => Ok(None),
            None => Err(lost(&known)),
        }
    }

    async fn list_routes(&self, call: &Call, request: &ListRoutes) -> Result<Vec<Listed>, EffectError> {
        let notes = self.engine.routes().await?;
        let wanted = match &request.container {
            Some(container) if !notes.is_empty() => match self.engine.look(container).await? {
                Some(found) => Some(found),
                None => return Ok(Vec::new()),
            },
            _ => None,
        };
        let mut listed = Vec::new();
        for note in notes {
            let shown = match self.driver_of(&note.driver) {
                Ok(driver) => driver.show(call, &note.service).await,
                Err(error) => Err(error),
            };
            let (view, error) = match shown {
                Ok(view) => (view, None),
                Err(error) => (None, Some(error)),
            };
            let refers = match (&wanted, &view) {
                (Some(container), Some(view)) => self.refers(view, container).await,
                // A route that cannot be seen may refer to any container of its service; others it must not hold up.
                (Some(container), None) => error.is_some() && serves(container, &note.service),
                (None, _) => true,
            };
            if refers {
                listed.push(Listed { service: note.service, driver: note.driver, view, error });
            }
        }
        Ok(listed)
    }

    /// The driver of a route; asks nothing yet.
    fn driver_of(&self, driver: &Driver) -> Result<Box<dyn TrafficDriver>, EffectError> {
        let clock = || Arc::clone(&self.clock);
        Ok(match driver {
            Driver::Proxy(driver) => Box::new(ProxyControl::new(driver)),
            Driver::Nginx(driver) => Box::new(NginxInclude::new(driver, self.clients.probe()?.clone(), clock())),
            Driver::Haproxy(driver) => Box::new(HaproxyRuntime::new(driver, clock())),
            Driver::Caddy(driver) => Box::new(CaddyAdmin::new(driver, self.clients.probe()?.clone(), clock())),
        })
    }

    async fn refers(&self, view: &RouteView, container: &Container) -> bool {
        for target in &view.targets {
            if self.is_at(target, container).await {
                return true;
            }
        }
        false
    }

    async fn note(&self, service: &str) -> Result<Option<RouteNote>, EffectError> {
        Ok(self.engine.routes().await?.into_iter().find(|note| note.service == service))
    }

    async fn known(&self, service: &str) -> Result<Known, EffectError> {
        let note = self.note(service).await?.ok_or_else(|| unknown(service))?;
        Ok(Known { driver: self.driver_of(&note.driver)?, note })
    }

    async fn view(&self, call: &Call, known: &Known) -> Result<RouteView, EffectError> {
        known.driver.show(call, &known.note.service).await?.ok_or_else(|| lost(known))
    }

    async fn standing(&self, call: &Call, known: Known) -> Result<Standing, EffectError> {
        self.view(call, &known).await.map(|view| known.with(view))
    }
}

impl Known {
    fn with(&self, view: RouteView) -> Standing {
        Standing {
            service: self.note.service.clone(),
            driver: self.note.driver.clone(),
            probe: self.note.probe.clone(),
            view,
        }
    }
}

fn serves(container: &Container, service: &str) -> bool {
    container.name == service || container.labels.get(labels::SERVICE).is_some_and(|own| own == service)
}

fn unknown(service: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("no route of service `{service}` is known on this host"))
        .hint(format!("declare it first: `traffic_route(#{{service: \"{service}\", address: \"0.0.0.0:80\"}})`"))
        .not_applied()
}

fn lost(known: &Known) -> EffectError {
    let (service, kind) = (&known.note.service, known.driver.kind());
    EffectError::new(ErrorKind::NotFound, format!("`{kind}` has no route of service `{service}`, but it should"))
        .hint("declare it again with `traffic_route`, and its targets with `traffic_set`")
        .not_applied()
}
