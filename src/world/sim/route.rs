//! A route of the simulated world as plain data, and who is in turn behind it. Knows nothing of containers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::effect::traffic::{CanaryRule, Driver, Mirror, Route, Target};

/// A route and its targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimRoute {
    pub driver: Driver,
    pub route: Route,
    #[serde(default)]
    pub probe: Option<String>,
    #[serde(default)]
    pub epoch: u64,
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    pub sticky: bool,
    #[serde(default)]
    pub canary: Option<CanaryRule>,
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// The instant of the clock at which a hold ends by itself.
    #[serde(default)]
    pub held_until: Option<u64>,
    #[serde(default)]
    pub draining: BTreeSet<String>,
    /// Probes that each target answered.
    #[serde(default)]
    pub served: BTreeMap<String, u64>,
}

/// Routes by service.
pub(super) type Routes = BTreeMap<String, SimRoute>;

impl SimRoute {
    /// One without a change yet.
    pub(super) fn new(driver: Driver, route: Route, targets: Vec<Target>) -> Self {
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
            draining: BTreeSet::new(),
            served: BTreeMap::new(),
        }
    }

    /// Whether it is reached at this port of the host.
    pub(super) fn listens(&self, port: u16) -> bool {
        let all = std::iter::once(&self.route.address).chain(&self.route.also);
        all.filter_map(|address| address.rsplit_once(':')).any(|(_, own)| own.parse() == Ok(port))
    }

    pub(super) fn weights(&self) -> BTreeMap<String, u32> {
        self.targets.iter().map(|target| (target.name.clone(), target.weight)).collect()
    }

    pub(super) fn is_held(&self, now: u64) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// Those who get requests; the warm ones when nobody else is there.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Target> {
        let live = |target: &&Target| target.weight > 0 && !self.draining.contains(&target.name);
        let warm = |target: &&Target| target.weight == 0 && !self.draining.contains(&target.name);
        self.targets.iter().filter(live).chain(self.targets.iter().filter(warm))
    }
}
