//! A route: where a service is reached, how its targets are watched, and how it is now.

use serde::{Deserialize, Serialize};

use super::targets::{CanaryRule, Target, Targets, target_name};
use crate::base::duration_text::DurationText;
use crate::effect::container::Container;

/// Where a service is reached, and how its targets are watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub service: String,
    /// The public address that answers, such as `0.0.0.0:80`.
    pub address: String,
    /// Further public addresses that answer the same, such as the one with TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Requests for this host alone. Default: for every host that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Requests below this path alone; whole segments, the longest wins. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    #[serde(default)]
    pub check: TargetCheck,
}

/// How the targets of a route are watched, before the switch and after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCheck {
    /// Asked with `GET`; a status below 400 is healthy. Default: that a connection opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Default 1 s.
    #[serde(default = "default_interval")]
    pub interval: DurationText,
    /// Of one check. Default 2 s.
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

/// How it goes with one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    pub name: String,
    pub address: String,
    pub weight: u32,
    pub healthy: bool,
    /// It gets no new requests any more.
    pub draining: bool,
    /// Requests that it has not answered to the end.
    pub in_flight: u64,
    /// Upgraded streams that are open.
    pub streams: u64,
    /// Requests that it was given so far: grows as long as the driver runs. None where the driver does not count.
    #[serde(default)]
    pub served: Option<u64>,
}

/// A route as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    pub route: Route,
    /// Whoever commands with an older one is refused.
    pub epoch: u64,
    pub targets: Vec<TargetView>,
    #[serde(default)]
    pub sticky: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Requests that wait, when they are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
}

/// Copies of safe requests without a body go to this target too; its answers are dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `HOST:PORT`.
    pub address: String,
    /// Of a hundred requests. Default 100.
    #[serde(default = "default_percent")]
    pub percent: u32,
}

fn default_percent() -> u32 {
    100
}

impl TargetView {
    /// Whether the target is this container: by the name that a container's target has, else by where it is reached.
    pub fn is_at(&self, container: &Container) -> bool {
        if self.name == target_name(&container.id) {
            return true;
        }
        let Some((host, port)) = self.address.rsplit_once(':') else { return false };
        let host = host.trim_matches(['[', ']']);
        if container.networks.values().any(|own| own == host) {
            return true;
        }
        // Any address of the host: which ones it has is not known for sure.
        port.parse().is_ok_and(|port: u16| container.ports.iter().any(|published| published.host_port == port))
    }
}

impl RouteView {
    /// Who gets the most requests; none when nobody gets any.
    pub fn leader(&self) -> Option<&TargetView> {
        self.targets.iter().filter(|target| target.weight > 0).max_by_key(|target| target.weight)
    }

    /// The target of that name.
    pub fn target(&self, name: &str) -> Option<&TargetView> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// What [`super::SetTargets`] asks for to have it like this again.
    pub fn step(&self) -> Targets {
        let targets = self.targets.iter().map(|target| Target {
            name: target.name.clone(),
            address: target.address.clone(),
            weight: target.weight,
        });
        Targets { targets: targets.collect(), sticky: self.sticky, canary: self.canary.clone() }
    }
}
