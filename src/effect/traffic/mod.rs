//! Traffic: routes, targets, weights and statistics. The plain data is shared with the proxy.
//!
//! A route belongs to a service and has one driver: the program that owns its public address. `traffic_route` records
//! the driver on the host, so that every other request only names the service, from any run and any machine.

mod declare;
mod drain;
mod driver;
mod error;
mod hold;
mod route;
mod show;
mod stats;
mod switch;
mod target_totals;
mod targets;

use super::category::category;
use super::{Effect, Outcome};

pub use declare::{DeclareRoute, ForgetRoute};
pub use drain::DrainTarget;
pub use driver::{CaddyDriver, Driver, HaproxyDriver, NginxDriver, ProxyDriver};
pub use error::{
    DriverFeature, caddy_route_taken, epoch_is_older, haproxy_needs_ip_address, nginx_host_taken,
    nginx_needs_ip_address, only_live_target, public_address_failed, route_not_found, target_not_running,
    unsupported_by_driver,
};
pub use hold::{HoldLimits, HoldTraffic, RELEASE_WAIT, ReleaseTraffic};
pub use route::{Mirror, Route, RouteView, TargetCheck, TargetView};
pub use show::{ListRoutes, ListedRoute, ReadTrafficStats, RouteStatus, ShowRoute};
pub use stats::{Drained, ErrorCounts, Latency, Released, TargetStats, TrafficStats};
pub use switch::{MirrorTraffic, SetTargets, SwitchTraffic};
pub use target_totals::{LAST_STEP, STEPS_PER_DOUBLING, TargetTotals, latency_of, latency_step};
pub use targets::{CanaryMark, CanaryRule, Target, TargetSource, TargetSpec, Targets, target_name, target_not_found};

category! {
    /// Actions on traffic.
    Traffic: TrafficEffect => TrafficOutcome {
        Route(DeclareRoute),
        Forget(ForgetRoute),
        Set(SetTargets),
        Switch(SwitchTraffic),
        Drain(DrainTarget),
        Hold(HoldTraffic),
        Release(ReleaseTraffic),
        Mirror(MirrorTraffic),
        Stats(ReadTrafficStats),
        Show(ShowRoute),
        List(ListRoutes),
    }
}

/// Returns the read of a route, which may not exist.
fn show_route(service: &str) -> Effect {
    ShowRoute { service: service.to_owned(), missing_ok: true }.into()
}

/// Returns the route that [`show_route`] found.
fn route_status(prior: Option<&Outcome>) -> Option<&RouteStatus> {
    match prior {
        Some(Outcome::Traffic(TrafficOutcome::Show(found))) => found.as_ref(),
        _ => None,
    }
}
