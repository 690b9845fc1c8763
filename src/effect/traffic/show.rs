//! `traffic_show`, `traffic_list` and `traffic_stats`: reads.

use serde::{Deserialize, Serialize};

use super::{Driver, RouteView, TrafficStats};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::effect::EffectError;
use crate::effect::request::request;

/// The current state of a route, as its driver reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// The service.
    pub service: String,
    /// The program that owns the address.
    pub driver: Driver,
    /// The address that is requested after each change, if it is not the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// The route and its targets.
    #[serde(flatten)]
    pub view: RouteView,
}

/// `traffic_show`: reads the route of a service, its targets, their weights and their requests in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRoute {
    /// The service.
    pub service: String,
    /// Returns `()` instead of failing if the route does not exist.
    #[serde(default)]
    pub missing_ok: bool,
}

request! {
    ShowRoute {
        kind: "traffic_show",
        reply: Option<RouteStatus>,
        access: Read,
        subject: service,
    }
}

/// `traffic_list`: lists the routes of the host, or those that refer to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRoutes {
    /// Only routes that refer to this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
}

request! {
    ListRoutes {
        kind: "traffic_list",
        reply: Vec<ListedRoute>,
        access: Read,
        subject: |request| request.container.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// A route that is recorded on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedRoute {
    /// The service.
    pub service: String,
    /// The program that owns the address.
    pub driver: Driver,
    /// The route and its targets; missing if the driver has no such route or did not answer.
    #[serde(default)]
    pub view: Option<RouteView>,
    /// Why the driver did not answer.
    #[serde(default)]
    pub error: Option<EffectError>,
}

/// `traffic_stats`: reads recent statistics of each target: requests, in flight, errors by class, latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadTrafficStats {
    /// The service.
    pub service: String,
    /// How far to look back; at most 10 min. Default 60 s.
    #[serde(default = "default_window")]
    pub window: DurationText,
}

fn default_window() -> DurationText {
    DurationText::secs(60)
}

request! {
    ReadTrafficStats {
        kind: "traffic_stats",
        reply: TrafficStats,
        access: Read,
        subject: service,
    }
}
