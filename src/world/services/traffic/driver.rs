//! The interface of traffic drivers. What all drivers have in common is done by its caller: finding the driver of a
//! route, reading back, and the probe through the public address.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::effect::EffectError;
use crate::effect::traffic::{
    DrainTarget, Drained, DriverFeature, HoldTraffic, Mirror, Released, Route, RouteView, Targets, TrafficStats,
    unsupported_by_driver,
};
use crate::world::Call;

/// The future of a driver's method.
pub(super) type DriverFuture<'a, T> = BoxFuture<'a, Result<T, EffectError>>;

/// Controls the program that owns a public address. Every method is idempotent: a repeated request ends like the first.
pub(super) trait TrafficDriver: Send + Sync {
    /// Returns the driver's name in effects, such as `proxy` or `nginx`.
    fn kind(&self) -> &'static str;

    /// Declares the route, or changes its addresses. With `reset`, its targets are removed.
    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, reset: bool) -> DriverFuture<'a, ()>;

    /// Removes the route. Returns whether there was one.
    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, bool>;

    /// Reads the route from the program. Returns what is in effect, not what was requested.
    fn show<'a>(&'a self, call: &'a Call, service: &'a str) -> DriverFuture<'a, Option<RouteView>>;

    /// Sets the targets and their weights. They are in effect when it returns.
    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> DriverFuture<'a, ()>;

    /// Stops new requests to a target, and waits for those in flight.
    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> DriverFuture<'a, Drained>;

    /// Holds new requests back.
    fn hold<'a>(&'a self, _: &'a Call, _: &'a HoldTraffic) -> DriverFuture<'a, ()> {
        unsupported_future(self.kind(), DriverFeature::Hold)
    }

    /// Lets held requests through.
    fn release<'a>(&'a self, _: &'a Call, _: &'a str) -> DriverFuture<'a, Released> {
        unsupported_future(self.kind(), DriverFeature::Hold)
    }

    /// Copies requests to another target, or stops doing so.
    fn mirror<'a>(&'a self, _: &'a Call, _: &'a str, _: Option<&'a Mirror>) -> DriverFuture<'a, ()> {
        unsupported_future(self.kind(), DriverFeature::Mirror)
    }

    /// Returns figures of the last `window`.
    fn stats<'a>(&'a self, _: &'a Call, _: &'a str, _: Duration) -> DriverFuture<'a, TrafficStats> {
        unsupported_future(self.kind(), DriverFeature::Statistics)
    }

    /// Returns how the driver shows which target answered a probe.
    fn proof(&self) -> ProbeProof;
}

/// How it is known which target answered a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeProof {
    /// The driver counts the requests of each target ([`crate::effect::traffic::TargetView::served`]).
    Counts,
    /// The response to a request with [`PROBE_HEADER`] names the target's address in [`TARGET_HEADER`].
    Header,
}

/// Request header that asks the driver to name the target.
pub(super) const PROBE_HEADER: &str = "x-deployer-probe";
/// Response header with the target's address.
pub(super) const TARGET_HEADER: &str = "x-deployer-target";

fn unsupported_future<'a, T>(kind: &'static str, feature: DriverFeature) -> DriverFuture<'a, T>
where
    T: Send + 'a,
{
    async move { Err(unsupported_by_driver(&kind, feature)) }.boxed()
}
