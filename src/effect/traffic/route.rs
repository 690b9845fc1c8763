//! A route: where a service is reached, how its targets are checked, and its current state.

use serde::{Deserialize, Serialize};

use super::hold::HoldLimits;
use super::targets::{CanaryRule, Target, Targets, target_name};
use crate::base::duration_text::DurationText;
use crate::effect::container::Container;

/// Where a service is reached, and how its targets are checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The service.
    pub service: String,
    /// The public address that answers, such as `0.0.0.0:80`.
    pub address: String,
    /// Further public addresses that answer the same, such as one with TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Only requests for this host. Default: every host that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only requests below this path, in whole segments; the longest prefix wins. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// How the targets are checked.
    #[serde(default)]
    pub check: TargetCheck,
}

/// How the targets of a route are checked, before and after a switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCheck {
    /// The path of a `GET` request; a status below 400 is healthy. Default: a TCP connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The time between two checks. Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: DurationText,
    /// The timeout of one check. Default 2 s.
    #[serde(default = "default_timeout")]
    pub timeout: DurationText,
    /// Failures in a row that make it unhealthy. Default 3.
    #[serde(default = "default_fall")]
    pub fall: u32,
    /// Successes in a row that make it healthy again. Default 2.
    #[serde(default = "default_rise")]
    pub rise: u32,
}

fn default_interval() -> DurationText {
    DurationText::secs(1)
}

fn default_timeout() -> DurationText {
    DurationText::secs(2)
}

fn default_fall() -> u32 {
    3
}

fn default_rise() -> u32 {
    2
}

impl Default for TargetCheck {
    fn default() -> Self {
        Self {
            path: None,
            interval: default_interval(),
            timeout: default_timeout(),
            fall: default_fall(),
            rise: default_rise(),
        }
    }
}

/// The current state of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// `HOST:PORT`, as the driver reaches it.
    pub address: String,
    /// Its share.
    pub weight: u32,
    /// Whether its checks succeed.
    pub healthy: bool,
    /// Whether it gets no new requests any more.
    pub draining: bool,
    /// Requests that it has not answered to the end.
    pub in_flight: u64,
    /// Upgraded streams that are open.
    pub streams: u64,
    /// Requests that it was given since the driver started. Missing if the driver does not count.
    #[serde(default)]
    pub served: Option<u64>,
}

/// The current state of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// The route as it was declared.
    pub route: Route,
    /// The epoch of the newest command; commands with an older one are refused.
    pub epoch: u64,
    /// The targets.
    pub targets: Vec<TargetView>,
    /// Whether a client stays on its target.
    #[serde(default)]
    pub sticky: bool,
    /// The rule for marked requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// Where copies are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// The number of requests that wait, if requests are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// The limits of the hold, if requests are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldLimits>,
}

/// Sends copies of safe requests without a body to another address, and drops its answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `HOST:PORT`.
    pub address: String,
    /// The percentage of requests to copy. Default 100.
    #[serde(default = "default_percent")]
    pub percent: u32,
}

fn default_percent() -> u32 {
    100
}

impl TargetView {
    /// Returns whether the target is this container, by its name or else by its address. A stopped container has no
    /// address: another one may have its port now.
    pub fn is_at(&self, container: &Container) -> bool {
        if self.name == target_name(&container.id) {
            return true;
        }
        if !container.is_running() {
            return false;
        }
        let Some((host, port)) = self.address.rsplit_once(':') else { return false };
        let host = host.trim_matches(['[', ']']);
        if container.networks.values().any(|address| address == host) {
            return true;
        }
        // The addresses of the host are not known for certain, so a published port is enough.
        port.parse().is_ok_and(|port: u16| container.ports.iter().any(|published| published.host_port == port))
    }
}

impl RouteView {
    /// Returns the target with the most requests, if any target gets requests.
    pub fn leader(&self) -> Option<&TargetView> {
        self.targets.iter().filter(|target| target.weight > 0).max_by_key(|target| target.weight)
    }

    /// Returns the target of that name.
    pub fn target(&self, name: &str) -> Option<&TargetView> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// Returns the targets as a step, to restore them.
    pub fn step(&self) -> Targets {
        let targets = self.targets.iter().map(|target| Target {
            name: target.name.clone(),
            address: target.address.clone(),
            weight: target.weight,
        });
        Targets { targets: targets.collect(), sticky: self.sticky, canary: self.canary.clone() }
    }
}
