//! Routes and their targets: one model for all traffic drivers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::effect::traffic::{CanaryRule, Driver, HoldLimits, Mirror, Route, Target};

/// A route and its targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimRoute {
    /// The driver of the route.
    pub driver: Driver,
    /// The declared route.
    pub route: Route,
    /// The path that is probed after a change.
    #[serde(default)]
    pub probe: Option<String>,
    /// The epoch of the last change.
    #[serde(default)]
    pub epoch: u64,
    /// Targets and their weights.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Whether a client stays with one target.
    #[serde(default)]
    pub sticky: bool,
    /// The canary rule.
    #[serde(default)]
    pub canary: Option<CanaryRule>,
    /// Where requests are mirrored.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// Until when requests wait.
    #[serde(default)]
    pub held_until: Option<u64>,
    /// The limits of the hold that has not ended.
    #[serde(default)]
    pub hold: Option<HoldLimits>,
    /// Names of the targets that are draining.
    #[serde(default)]
    pub draining: BTreeSet<String>,
    /// Probes that each target answered.
    #[serde(default)]
    pub served: BTreeMap<String, u64>,
}

/// Routes by service.
pub(crate) type Routes = BTreeMap<String, SimRoute>;

impl SimRoute {
    /// Returns a route with these targets.
    pub fn new(driver: Driver, route: Route, targets: Vec<Target>) -> Self {
        Self {
            driver,
            route,
            probe: None,
            epoch: 0,
            targets,
            sticky: false,
            canary: None,
            mirror: None,
            held_until: None,
            hold: None,
            draining: BTreeSet::new(),
            served: BTreeMap::new(),
        }
    }

    /// Returns whether it listens on this host port.
    pub(crate) fn listens(&self, port: u16) -> bool {
        let all = std::iter::once(&self.route.address).chain(&self.route.also);
        all.filter_map(|address| address.rsplit_once(':')).any(|(_, own)| own.parse() == Ok(port))
    }

    pub(crate) fn weights(&self) -> BTreeMap<String, u32> {
        self.targets.iter().map(|target| (target.name.clone(), target.weight)).collect()
    }

    /// Returns whether requests wait.
    pub(crate) fn is_held(&self, now: u64) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// Returns whether no request is forwarded: it waits, or gets 503 because the time of the hold is over.
    pub(crate) fn is_closed(&self, now: u64) -> bool {
        self.is_held(now) || self.hold.as_ref().is_some_and(|hold| hold.until_released)
    }

    /// Returns the targets that get requests, in the order they are tried; targets with weight 0 come last.
    pub(crate) fn serving_order(&self) -> impl Iterator<Item = &Target> {
        let live = |target: &&Target| target.weight > 0 && !self.draining.contains(&target.name);
        let warm = |target: &&Target| target.weight == 0 && !self.draining.contains(&target.name);
        self.targets.iter().filter(live).chain(self.targets.iter().filter(warm))
    }
}
