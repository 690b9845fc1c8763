//! What is the same for every driver whose program knows no routes, no names and no epochs: each command makes of the
//! route that is kept the next one, and the program is made to follow it. Knows no program.

use std::future::Future;

use futures_util::FutureExt;

use super::driver::{Answer, Proof, TrafficDriver};
use super::kept_route::{KeptRoute, plain_step};
use crate::effect::traffic::{DrainTarget, Drained, Route, RouteView, Targets};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What a command makes of the route that is kept; none: there is none, and none is left.
pub(super) type Next = Result<Option<KeptRoute>, EffectError>;

pub(super) trait KeptDriver: Send + Sync {
    const KIND: &'static str;
    /// As people call the program.
    const PROGRAM: &'static str;
    const PROOF: Proof;
    /// What to do about a route that the program has not.
    const GONE: &'static str = "declare it with `traffic_route`";

    /// Has the program follow what `make` makes of the route; in force when it returns. `make` is asked again when
    /// somebody else made a change in between.
    fn change(
        &self,
        call: &Call,
        service: &str,
        make: impl FnMut(Option<KeptRoute>) -> Next + Send,
    ) -> impl Future<Output = Result<(), EffectError>> + Send;

    /// The route as the program has it.
    fn view(&self, call: &Call, service: &str) -> impl Future<Output = Result<Option<RouteView>, EffectError>> + Send;

    /// Waits for what the target at `address` still has, after nothing new goes there any more.
    fn await_end(
        &self,
        call: &Call,
        request: &DrainTarget,
        address: &str,
    ) -> impl Future<Output = Result<Drained, EffectError>> + Send;

    /// Whether a route can be declared at all.
    fn is_ready(&self, _: &Call, _: &str) -> impl Future<Output = Result<(), EffectError>> + Send {
        async { Ok(()) }
    }

    /// What a declaration makes of the route that there is.
    fn declared(call: &Call, former: Option<KeptRoute>, route: &Route, anew: bool) -> Result<KeptRoute, EffectError> {
        KeptRoute::declared(call, former, route, anew)
    }
}

/// The error of a command to a route that the program has not.
pub(super) fn gone<D: KeptDriver>(service: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("{} has no route of service `{service}`", D::PROGRAM))
        .hint(D::GONE)
        .not_applied()
}

/// The route of a command that is not older than the last one.
fn fenced<D: KeptDriver>(call: &Call, service: &str, kept: Option<KeptRoute>) -> Result<KeptRoute, EffectError> {
    let mut kept = kept.ok_or_else(|| gone::<D>(service))?;
    kept.fence(call)?;
    Ok(kept)
}

impl<D: KeptDriver> TrafficDriver for D {
    fn kind(&self) -> &'static str {
        D::KIND
    }

    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, anew: bool) -> Answer<'a, ()> {
        async move {
            self.is_ready(call, &route.service).await?;
            let declared = |former| D::declared(call, former, route, anew).map(Some);
            self.change(call, &route.service, declared).await
        }
        .boxed()
    }

    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, bool> {
        async move {
            let mut there = false;
            let taken_away = |former: Option<KeptRoute>| {
                there |= former.is_some();
                former.map_or(Ok(()), |mut former| former.fence(call))?;
                Ok(None)
            };
            self.change(call, service, taken_away).await?;
            Ok(there)
        }
        .boxed()
    }

    fn show<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, Option<RouteView>> {
        self.view(call, service).boxed()
    }

    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> Answer<'a, ()> {
        async move {
            plain_step(D::KIND, step)?;
            let taken = |kept| {
                let mut kept = fenced::<D>(call, service, kept)?;
                kept.take(step);
                Ok(Some(kept))
            };
            self.change(call, service, taken).await
        }
        .boxed()
    }

    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> Answer<'a, Drained> {
        async move {
            let mut address = String::new();
            let out = |kept| {
                let mut kept = fenced::<D>(call, &request.service, kept)?;
                address = kept.drain(&request.target)?;
                Ok(Some(kept))
            };
            self.change(call, &request.service, out).await?;
            self.await_end(call, request, &address).await
        }
        .boxed()
    }

    fn proof(&self) -> Proof {
        D::PROOF
    }
}
