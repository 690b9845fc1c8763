//! A route that deployer stores for a program without routes, target names and epochs. It is stored next to the program's
//! own configuration, and lasts as long as that. Knows no program.

use serde::{Deserialize, Serialize};

use crate::effect::EffectError;
use crate::effect::traffic::{
    DriverFeature, Route, RouteView, Target, TargetView, Targets, epoch_is_older, only_live_target, target_not_found,
    unsupported_by_driver,
};
use crate::world::Call;

/// A route as of the last command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredRoute {
    pub route: Route,
    pub epoch: u64,
    #[serde(default)]
    pub targets: Vec<StoredTarget>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredTarget {
    pub name: String,
    pub address: String,
    /// The requested weight. The program may scale it.
    pub weight: u32,
    #[serde(default)]
    pub draining: bool,
}

impl StoredTarget {
    /// Returns whether the target gets new requests.
    pub(super) fn is_live(&self) -> bool {
        self.weight > 0 && !self.draining
    }
}

/// A target as the program reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ObservedTarget {
    pub address: String,
    pub weight: u32,
    pub healthy: bool,
    pub draining: bool,
    pub in_flight: u64,
    pub served: Option<u64>,
}

impl StoredRoute {
    /// Returns the stored route after a declaration. With `reset`, its targets are removed.
    pub(super) fn declared(
        call: &Call,
        previous: Option<Self>,
        route: &Route,
        reset: bool,
    ) -> Result<Self, EffectError> {
        let mut stored = previous.unwrap_or_else(|| Self { route: route.clone(), epoch: 0, targets: Vec::new() });
        stored.fence(call)?;
        stored.route = route.clone();
        if reset {
            stored.targets.clear();
        }
        Ok(stored)
    }

    /// Refuses a command of an older run after one of a newer run. A command without a lock keeps the epoch.
    pub(super) fn fence(&mut self, call: &Call) -> Result<(), EffectError> {
        let epoch = call.epoch.unwrap_or(self.epoch);
        if epoch < self.epoch {
            return Err(epoch_is_older(&self.route.service, self.epoch, epoch));
        }
        self.epoch = epoch;
        Ok(())
    }

    /// Replaces the targets. A target that drains keeps draining while its weight is 0.
    pub(super) fn set_targets(&mut self, step: &Targets) {
        let stored = |target: &Target| StoredTarget {
            name: target.name.clone(),
            address: target.address.clone(),
            weight: target.weight,
            draining: target.weight == 0
                && self.targets.iter().any(|previous| previous.name == target.name && previous.draining),
        };
        self.targets = step.targets.iter().map(stored).collect();
    }

    /// Marks a target as draining. Returns its address.
    pub(super) fn drain(&mut self, name: &str) -> Result<String, EffectError> {
        if !self.targets.iter().any(|other| other.name != name && other.is_live()) {
            return Err(only_live_target(name, false));
        }
        match self.targets.iter_mut().find(|target| target.name == name) {
            Some(target) => {
                target.draining = true;
                Ok(target.address.clone())
            }
            None => {
                let existing = self.targets.iter().map(|target| target.name.as_str());
                Err(target_not_found(&self.route.service, name, existing))
            }
        }
    }

    /// Returns the route with its targets as the program reports them.
    pub(super) fn view(&self, mut observe: impl FnMut(&StoredTarget) -> ObservedTarget) -> RouteView {
        let target = |target: &StoredTarget| {
            let observed = observe(target);
            TargetView {
                name: target.name.clone(),
                address: observed.address,
                weight: observed.weight,
                healthy: observed.healthy,
                draining: observed.draining,
                in_flight: observed.in_flight,
                streams: 0,
                served: observed.served,
            }
        };
        RouteView {
            route: self.route.clone(),
            epoch: self.epoch,
            targets: self.targets.iter().map(target).collect(),
            sticky: false,
            canary: None,
            mirror: None,
            held: None,
            hold: None,
        }
    }
}

/// Refuses what only the embedded proxy can do.
pub(super) fn check_supported(kind: &'static str, step: &Targets) -> Result<(), EffectError> {
    if step.sticky {
        return Err(unsupported_by_driver(&kind, DriverFeature::Sticky));
    }
    if step.canary.is_some() {
        return Err(unsupported_by_driver(&kind, DriverFeature::Canary));
    }
    let mut addresses: Vec<&str> = step.targets.iter().map(|target| target.address.as_str()).collect();
    addresses.sort_unstable();
    match addresses.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let message = format!("two targets have the address {}: `{kind}` tells targets apart by address", pair[0]);
            Err(EffectError::invalid(message))
        }
    }
}

/// Returns how long requests and streams may take to end. These programs do not tell them apart.
pub(super) fn drain_timeout(request: &crate::effect::traffic::DrainTarget) -> std::time::Duration {
    request.streams_deadline.map_or(request.deadline.0, |streams| streams.0.max(request.deadline.0))
}
