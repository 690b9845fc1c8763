//! `traffic_set`, `traffic_switch` and `traffic_mirror`: who gets the requests from now on.

use serde::{Deserialize, Deserializer, Serialize};

use super::change::RouteChange;
use super::look::Standing;
use super::targets::{CanaryRule, TargetSpec, named};
use super::{DeclareRoute, Mirror};
use crate::effect::{Request, Undo};

/// `traffic_set`: the targets of a service and their weights, all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTargets {
    pub service: String,
    pub targets: Vec<TargetSpec>,
    /// A visitor stays with the target that the first request got, until the next step. Default: no.
    #[serde(default)]
    pub sticky: bool,
    /// Who goes to one target whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// Who gets everything when it is taken back, in one switch. Default: the targets and weights as they were; but a
    /// canary that failed shall not get its former shares again, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named_or_none")]
    pub back_to: Option<String>,
}

fn named_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    named(deserializer).map(Some)
}

/// The targets that there were; before the first step, a route without any.
pub(super) fn former_step(former: Option<&Standing>) -> Undo {
    former.map_or(Undo::Nothing, |former| {
        if former.view.targets.is_empty() {
            return Undo::by(DeclareRoute { anew: true, ..DeclareRoute::again(former) });
        }
        let step = former.view.step();
        Undo::by(SetTargets {
            service: former.view.route.service.clone(),
            targets: step.targets.into_iter().map(TargetSpec::from).collect(),
            sticky: step.sticky,
            canary: step.canary,
            back_to: None,
        })
    })
}

impl RouteChange for SetTargets {
    fn of(&self) -> &str {
        &self.service
    }

    fn taken_back(&self, former: Option<&Standing>) -> Undo {
        match &self.back_to {
            Some(target) => Undo::by(SwitchTraffic { service: self.service.clone(), target: target.clone() }),
            None => former_step(former),
        }
    }

    fn about(&self) -> String {
        let target = |target: &TargetSpec| {
            let container = target.container.as_ref().map(ToString::to_string);
            let name = container.or_else(|| target.name.clone()).or_else(|| target.address.clone());
            format!("{} {}", name.unwrap_or_default(), target.weight)
        };
        format!("{}: {}", self.service, self.targets.iter().map(target).collect::<Vec<_>>().join(", "))
    }
}

impl Request for SetTargets {
    const KIND: &'static str = "traffic_set";
    type Reply = Standing;
}

/// `traffic_switch`: all requests go to one target from now on; the others stay warm, with weight 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchTraffic {
    pub service: String,
    #[serde(deserialize_with = "named")]
    pub target: String,
}

impl RouteChange for SwitchTraffic {
    fn of(&self) -> &str {
        &self.service
    }

    fn taken_back(&self, former: Option<&Standing>) -> Undo {
        former_step(former)
    }

    fn about(&self) -> String {
        format!("{} -> {}", self.service, self.target)
    }
}

impl Request for SwitchTraffic {
    const KIND: &'static str = "traffic_switch";
    type Reply = Standing;
}

/// `traffic_mirror`: copies of safe requests without a body go to another address too, and its answers are dropped;
/// without `address` that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorTraffic {
    pub service: String,
    /// `HOST:PORT`. Default: nobody gets copies any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Of a hundred requests. Default 100.
    #[serde(default = "all")]
    pub percent: u32,
}

fn all() -> u32 {
    100
}

impl MirrorTraffic {
    /// What the driver is told.
    pub fn mirror(&self) -> Option<Mirror> {
        self.address.clone().map(|address| Mirror { address, percent: self.percent })
    }
}

impl RouteChange for MirrorTraffic {
    fn of(&self) -> &str {
        &self.service
    }

    fn taken_back(&self, former: Option<&Standing>) -> Undo {
        let Some(former) = former else { return Undo::Nothing };
        let mirror = former.view.mirror.clone();
        let percent = mirror.as_ref().map_or_else(all, |mirror| mirror.percent);
        let address = mirror.map(|mirror| mirror.address);
        Undo::by(Self { service: self.service.clone(), address, percent })
    }

    fn about(&self) -> String {
        format!("{} -> {}", self.service, self.address.as_deref().unwrap_or("nobody"))
    }
}

impl Request for MirrorTraffic {
    const KIND: &'static str = "traffic_mirror";
    type Reply = Standing;
}
