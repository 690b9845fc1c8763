//! What a driver of routes can do. Scripts see the effects alone; what every driver has in common (who drives which
//! route, reading back, the proof through the public address) is done around it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::effect::traffic::{
    DrainTarget, Drained, HoldTraffic, Mirror, Released, Route, RouteView, Targets, TrafficStats,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// An answer that comes later.
pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, EffectError>>;

/// The program that owns a public address. Every request may come twice and ends as it did at first.
pub(super) trait TrafficDriver: Send + Sync {
    /// As the effects call it: `proxy`, `nginx`.
    fn kind(&self) -> &'static str;

    /// Declares the route, or changes where it is reached. Targets that it has stay, unless it is to begin `anew`.
    fn declare<'a>(&'a self, call: &'a Call, route: &'a Route, anew: bool) -> Answer<'a, ()>;

    /// False when there was none.
    fn forget<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, bool>;

    /// The route as the program has it now, not as it was told; none when it has none.
    fn show<'a>(&'a self, call: &'a Call, service: &'a str) -> Answer<'a, Option<RouteView>>;

    /// Who gets the requests from now on; in force when it returns.
    fn set<'a>(&'a self, call: &'a Call, service: &'a str, step: &'a Targets) -> Answer<'a, ()>;

    /// Nothing new to this target; waits for what it has.
    fn drain<'a>(&'a self, call: &'a Call, request: &'a DrainTarget) -> Answer<'a, Drained>;

    fn hold<'a>(&'a self, _: &'a Call, _: &'a HoldTraffic) -> Answer<'a, ()> {
        cannot(self.kind(), "hold requests")
    }

    fn release<'a>(&'a self, _: &'a Call, _: &'a str) -> Answer<'a, Released> {
        cannot(self.kind(), "hold requests")
    }

    fn mirror<'a>(&'a self, _: &'a Call, _: &'a str, _: Option<&'a Mirror>) -> Answer<'a, ()> {
        cannot(self.kind(), "mirror requests")
    }

    fn stats<'a>(&'a self, _: &'a Call, _: &'a str, _: Duration) -> Answer<'a, TrafficStats> {
        cannot(self.kind(), "tell figures of the last seconds")
    }

    /// How it shows who answered a probe.
    fn proof(&self) -> Proof;
}

/// How the answer to a probe is known to come from the right target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The driver counts what each target was given ([`crate::effect::traffic::TargetView::served`]).
    Counts,
    /// The answer to a request with [`PROBE_HEADER`] carries [`TARGET_HEADER`]: the target's address.
    Header,
}

/// Asks the driver to say who answered.
pub(super) const PROBE_HEADER: &str = "x-deployer-probe";
/// Says it.
pub(super) const TARGET_HEADER: &str = "x-deployer-target";

fn cannot<'a, T>(kind: &'static str, what: &'static str) -> Answer<'a, T>
where
    T: Send + 'a,
{
    async move { Err(unsupported(kind, what)) }.boxed()
}

/// The error of a driver whose program cannot do it.
pub(super) fn unsupported(kind: &str, what: &str) -> EffectError {
    EffectError::new(ErrorKind::Unsupported, format!("the driver `{kind}` cannot {what}"))
        .hint("the driver `proxy` can: run `deployer proxy run`, and declare the route with it")
        .not_applied()
}
