//! `traffic_set`, `traffic_switch` and `traffic_mirror`: which targets get the requests.

use serde::{Deserialize, Deserializer, Serialize};

use super::show::RouteStatus;
use super::targets::{CanaryRule, Target, TargetSpec, target_from_any};
use super::{DeclareRoute, Mirror, route_status, show_route};
use crate::effect::request::request;
use crate::effect::{Outcome, Undo};

/// `traffic_set`: sets all targets of a service and their weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTargets {
    /// The service.
    pub service: String,
    /// The targets.
    pub targets: Vec<TargetSpec>,
    /// Keeps a client on the target that its first request got, until the next step. Default false.
    #[serde(default)]
    pub sticky: bool,
    /// Sends marked requests to one target whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// The target that gets all requests on rollback, in one switch. Default: the previous targets and weights. Set it for
    /// a canary: a canary that failed must not get its previous shares again, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_target")]
    pub back_to: Option<String>,
}

fn optional_target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    target_from_any(deserializer).map(Some)
}

/// Restores the targets that the route had, or a route without any when it had none.
pub(super) fn restore_targets(prior: Option<&Outcome>) -> Undo {
    route_status(prior).map_or(Undo::Nothing, |previous| {
        if previous.view.targets.is_empty() {
            return Undo::by(DeclareRoute { forget_targets: true, ..DeclareRoute::again(previous) });
        }
        let step = previous.view.step();
        Undo::by(SetTargets {
            service: previous.view.route.service.clone(),
            targets: step.targets.into_iter().map(TargetSpec::from).collect(),
            sticky: step.sticky,
            canary: step.canary,
            back_to: None,
        })
    })
}

request! {
    SetTargets {
        kind: "traffic_set",
        reply: RouteStatus,
        access: Write,
        recovery: Repeat,
        subject: Self::service_and_weights,
        service: |request| Some(&request.service),
        prior: |request| Some(show_route(&request.service)),
        undo: Self::undo_from,
    }
}

impl SetTargets {
    fn service_and_weights(&self) -> String {
        let target = |target: &TargetSpec| {
            let container = target.container.as_ref().map(ToString::to_string);
            let name = container.or_else(|| target.name.clone()).or_else(|| target.address.clone());
            format!("{} {}", name.unwrap_or_default(), target.weight)
        };
        format!("{}: {}", self.service, self.targets.iter().map(target).collect::<Vec<_>>().join(", "))
    }

    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let (Some(back_to), Some(previous)) = (&self.back_to, route_status(prior)) else {
            return restore_targets(prior);
        };
        let targets = &previous.view.targets;
        let is_shared = targets.iter().any(|target| target.weight > 0 && target.name != *back_to);
        if !is_shared || targets.iter().all(|target| target.name != *back_to) {
            return restore_targets(prior);
        }
        // An earlier step, which is undone later, restores the rest. This one must not bring back its shares.
        let all_to_one = |target: Target| Target { weight: u32::from(target.name == *back_to), ..target };
        Undo::by(Self {
            service: self.service.clone(),
            targets: previous.view.step().targets.into_iter().map(all_to_one).map(TargetSpec::from).collect(),
            sticky: false,
            canary: None,
            back_to: None,
        })
    }
}

/// `traffic_switch`: sends all requests to one target. The others stay warm, with weight 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchTraffic {
    /// The service.
    pub service: String,
    /// The target.
    #[serde(deserialize_with = "target_from_any")]
    pub target: String,
}

request! {
    SwitchTraffic {
        kind: "traffic_switch",
        reply: RouteStatus,
        access: Write,
        recovery: Repeat,
        subject: |request| format!("{} -> {}", request.service, request.target),
        service: |request| Some(&request.service),
        prior: |request| Some(show_route(&request.service)),
        undo: |_, prior| restore_targets(prior),
    }
}

/// `traffic_mirror`: also sends copies of safe requests without a body to another address, and drops its answers.
/// Without `address`, the mirroring ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorTraffic {
    /// The service.
    pub service: String,
    /// `HOST:PORT`. Default: none, which ends the mirroring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The percentage of requests to copy. Default 100.
    #[serde(default = "default_percent")]
    pub percent: u32,
}

fn default_percent() -> u32 {
    100
}

impl MirrorTraffic {
    /// Returns the mirror for the driver.
    pub fn mirror(&self) -> Option<Mirror> {
        self.address.clone().map(|address| Mirror { address, percent: self.percent })
    }
}

request! {
    MirrorTraffic {
        kind: "traffic_mirror",
        reply: RouteStatus,
        access: Write,
        recovery: Repeat,
        subject: |request| format!("{} -> {}", request.service, request.address.as_deref().unwrap_or("nothing")),
        service: |request| Some(&request.service),
        prior: |request| Some(show_route(&request.service)),
        undo: Self::undo_from,
    }
}

impl MirrorTraffic {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let Some(previous) = route_status(prior) else { return Undo::Nothing };
        let mirror = previous.view.mirror.clone();
        let percent = mirror.as_ref().map_or_else(default_percent, |mirror| mirror.percent);
        let address = mirror.map(|mirror| mirror.address);
        Undo::by(Self { service: self.service.clone(), address, percent })
    }
}
