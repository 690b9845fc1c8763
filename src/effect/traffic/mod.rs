//! Who gets which request: routes, targets, weights, and what they did lately. The plain data is shared with the proxy.
//!
//! A route belongs to a service and has one driver: the program that owns its public address. `traffic_route` writes
//! down on the host which one it is, so that every other request names the service alone, from any run and any machine.

mod change;
mod declare;
mod driver;
mod figures;
mod hold;
mod look;
mod route;
mod steer;
mod targets;
mod totals;

use super::Outcome;
use super::family::family;

pub use declare::{DeclareRoute, ForgetRoute};
pub use driver::{CaddyDriver, Driver, HaproxyDriver, NginxDriver, ProxyDriver};
pub use figures::{Drained, ErrorCounts, Latency, Released, TargetStats, TrafficStats};
pub use hold::{DrainTarget, HoldTraffic, ReleaseTraffic};
pub use look::{AskStats, ListRoutes, Listed, ShowRoute, Standing};
pub use route::{Mirror, Route, RouteView, TargetCheck, TargetView};
pub use steer::{MirrorTraffic, SetTargets, SwitchTraffic};
pub use targets::{CanaryMark, CanaryRule, Target, TargetSpec, Targets, target_name};
pub use totals::{LAST_STEP, STEPS_PER_DOUBLING, Totals, latency_of, latency_step};

family! {
    /// What can be asked of traffic.
    Traffic: TrafficEffect => TrafficOutcome {
        Route(DeclareRoute),
        Forget(ForgetRoute),
        Set(SetTargets),
        Switch(SwitchTraffic),
        Drain(DrainTarget),
        Hold(HoldTraffic),
        Release(ReleaseTraffic),
        Mirror(MirrorTraffic),
        Stats(AskStats),
        Show(ShowRoute),
        List(ListRoutes),
    }
}

/// The route before a change, as [`ShowRoute`] answered.
fn standing(prior: Option<&Outcome>) -> Option<&Standing> {
    match prior {
        Some(Outcome::Traffic(TrafficOutcome::Show(found))) => found.as_ref(),
        _ => None,
    }
}
