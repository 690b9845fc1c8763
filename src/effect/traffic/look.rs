//! `traffic_show`, `traffic_list` and `traffic_stats`: what only looks.

use serde::{Deserialize, Serialize};

use super::{Driver, RouteView, TrafficStats};
use crate::base::container_ref::ContainerRef;
use crate::base::duration_text::DurationText;
use crate::effect::{Access, EffectError, Facts, Request};

/// A route as its driver has it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub service: String,
    pub driver: Driver,
    /// Where the public side is asked after each change, when not at the route's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    #[serde(flatten)]
    pub view: RouteView,
}

/// `traffic_show`: the route of a service, its targets, their weights and what they have in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRoute {
    pub service: String,
    #[serde(default)]
    pub missing_ok: bool,
}

impl Facts for ShowRoute {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for ShowRoute {
    const KIND: &'static str = "traffic_show";
    type Reply = Option<Standing>;
}

/// `traffic_list`: all routes of the host; with `container`, those that refer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRoutes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerRef>,
}

impl Facts for ListRoutes {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.container.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Request for ListRoutes {
    const KIND: &'static str = "traffic_list";
    type Reply = Vec<Listed>;
}

/// A route that the host knows of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    pub service: String,
    pub driver: Driver,
    /// None when the driver has no such route, or did not answer.
    #[serde(default)]
    pub view: Option<RouteView>,
    /// Why the driver did not answer.
    #[serde(default)]
    pub error: Option<EffectError>,
}

/// `traffic_stats`: what each target did lately: requests, in flight, errors by class, latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskStats {
    pub service: String,
    /// How far it looks back; at most 10 min. Default 60 s.
    #[serde(default = "default_window")]
    pub window: DurationText,
}

fn default_window() -> DurationText {
    DurationText::secs(60)
}

impl Facts for AskStats {
    fn access(&self) -> Access {
        Access::Read
    }

    fn subject(&self) -> String {
        self.service.clone()
    }
}

impl Request for AskStats {
    const KIND: &'static str = "traffic_stats";
    type Reply = TrafficStats;
}
