//! What the drivers of external programs (nginx, HAProxy, Caddy) have in common.
//!
//! These programs know no routes, target names and epochs, so deployer stores them ([`StoredRoute`]). Each command computes
//! the next stored route, and the driver applies it to the program.

use std::future::Future;

use futures_util::FutureExt;

use super::driver::{DriverFuture, ProbeProof, TrafficDriver};
use super::stored_route::{StoredRoute, check_supported};
use crate::effect::traffic::{DrainTarget, Drained, Route, RouteView, Targets};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The route after a command; `None` if there is none.
pub(super) type NextRoute = Result<Option<StoredRoute>, EffectError>;

/// A driver of an external program. Implementing it implements [`TrafficDriver`].
pub(super) trait ExternalDriver: Send + Sync {
    /// The driver's name in effects.
    const KIND: &'static str;
    /// The program's name in messages.
    const PROGRAM: &'static str;
    /// How the driver shows which target answered a probe.
    const PROOF: ProbeProof;
    /// The hint when the program does not have a route.
    const MISSING_ROUTE_HINT: &'static str = "declare it with `traffic_route`";

    /// Applies the route that `next` computes from the stored one. It is in effect when this returns. `next` is called
    /// again if another client changed the program's configuration meanwhile.
    fn change(
        &self,
        call: &Call,
        service: &str,
        next: impl FnMut(Option<StoredRoute>) -> NextRoute + Send,
    ) -> impl Future<Output = Result<(), EffectError>> + Send;

    /// Reads the route from the program.
    fn view(&self, call: &Call, service: &str) -> impl Future<Output = Result<Option<RouteView>, EffectError>> + Send;

    /// Waits until the target at `address`, which gets no new requests, has none in flight.
    fn await_drained(
        &self,
        call: &Call,
        request: &DrainTarget,
        address: &str,
    ) -> impl Future<Output = Result<Drained, EffectError>> + Send;

    /// Checks whether a route can be declared.
    fn check_ready(&self, _: &Call, _: &str) -> impl Future<Output = Result<(), EffectError>> + Send {
        async { Ok(()) }
    }

    /// Computes the route after a declaration.
    fn declared(
        call: &Call,
        previous: Option<StoredRoute>,
        route: &Route,
        reset: bool,
    ) -> Result<StoredRoute, EffectError> {
        StoredRoute::declared(call, previous, route, reset)
    }
}

/// The error of a command for a route that the program does not have.
pub(super) fn missing_route<D: ExternalDriver>(service: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("{} has no route of service `{service}`", D::PROGRAM))
        .hint(D::MISSING_ROUTE_HINT)
        .not_applied()
}

/// Returns the stored route if the command is not older than the last one.
fn fenced<D: ExternalDriver>(
    call: &Call,
    service: &str,
    stored: Option<StoredRoute>,
) -> Result<StoredRoute, EffectError> {
    let mut stored = stored.ok_or_else(|| missing_route::<D>(service))?;
    stored.fence(call)?;
    Ok(stored)
}

impl<D: ExternalDriver> TrafficDriver for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }

    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, reset: bool) -> DriverFuture<'a, ()> {
        async move {
            self.check_ready(call, &route.service).await?;
            let declared = |previous| D::declared(call, previous, route, reset).map(Some);
            self.change(call, &route.service, declared).await
        }
        .boxed()
    }

    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, bool> {
        async move {
            let mut existed = false;
            let removed = |previous: Option<StoredRoute>| {
                existed |= previous.is_some();
                previous.map_or(Ok(()), |mut previous| previous.fence(call))?;
                Ok(None)
            };
            self.change(call, service, removed).await?;
            Ok(existed)
        }
        .boxed()
    }

    fn show<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, Option<RouteView>> {
        self.view(call, service).boxed()
    }

    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> DriverFuture<'a, ()> {
        async move {
            check_supported(D::KIND, step)?;
            let updated = |stored| {
                let mut stored = fenced::<D>(call, service, stored)?;
                stored.set_targets(step);
                Ok(Some(stored))
            };
            self.change(call, service, updated).await
        }
        .boxed()
    }

    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> DriverFuture<'a, Drained> {
        async move {
            let mut address = String::new();
            let draining = |stored| {
                let mut stored = fenced::<D>(call, &request.service, stored)?;
                address = stored.drain(&request.target)?;
                Ok(Some(stored))
            };
            self.change(call, &request.service, draining).await?;
            self.await_drained(call, request, &address).await
        }
        .boxed()
    }

    fn proof(&self) -> ProbeProof {
        D::PROOF
    }
}
