//! A route as deployer keeps it with a program that knows no routes, no names of targets and no epochs: beside what the
//! program is told, in a place that lasts as long as that. Knows no program.

use serde::{Deserialize, Serialize};

use super::driver::unsupported;
use crate::effect::traffic::{Route, RouteView, Target, TargetView, Targets};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What the last command made of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptRoute {
    pub route: Route,
    pub epoch: u64,
    #[serde(default)]
    pub targets: Vec<KeptTarget>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptTarget {
    pub name: String,
    pub address: String,
    /// As it was told, not as the program scales it.
    pub weight: u32,
    #[serde(default)]
    pub draining: bool,
}

impl KeptTarget {
    /// Whether it gets new requests.
    pub(super) fn is_live(&self) -> bool {
        self.weight > 0 && !self.draining
    }
}

/// What the program itself says of a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub address: String,
    pub weight: u32,
    pub healthy: bool,
    pub draining: bool,
    pub in_flight: u64,
    pub served: Option<u64>,
}

impl KeptRoute {
    /// The route as it is declared now; targets stay, unless it begins `anew`.
    pub(super) fn declared(call: &Call, former: Option<Self>, route: &Route, anew: bool) -> Result<Self, EffectError> {
        let mut kept = former.unwrap_or_else(|| Self { route: route.clone(), epoch: 0, targets: Vec::new() });
        kept.fence(call)?;
        kept.route = route.clone();
        if anew {
            kept.targets.clear();
        }
        Ok(kept)
    }

    /// An older run's command is refused after a newer one's; whoever holds no lock leaves the epoch as it is.
    pub(super) fn fence(&mut self, call: &Call) -> Result<(), EffectError> {
        let epoch = call.epoch.unwrap_or(self.epoch);
        if epoch < self.epoch {
            let message =
                format!("`{}` was commanded with epoch {} already; {epoch} is older", self.route.service, self.epoch);
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint("a newer run steers this service: see `deployer runs`, `deployer status`")
                .not_applied());
        }
        self.epoch = epoch;
        Ok(())
    }

    pub(super) fn take(&mut self, step: &Targets) {
        let kept = |target: &Target| KeptTarget {
            name: target.name.clone(),
            address: target.address.clone(),
            weight: target.weight,
            draining: target.weight == 0
                && self.targets.iter().any(|former| former.name == target.name && former.draining),
        };
        self.targets = step.targets.iter().map(kept).collect();
    }

    /// Nothing new to this target. Returns its address.
    pub(super) fn drain(&mut self, name: &str) -> Result<String, EffectError> {
        if !self.targets.iter().any(|other| other.name != name && other.is_live()) {
            let message = format!("`{name}` is the only target that gets requests: switch first");
            return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
        }
        match self.targets.iter_mut().find(|target| target.name == name) {
            Some(target) => {
                target.draining = true;
                Ok(target.address.clone())
            }
            None => {
                let message = format!("the route of `{}` has no target `{name}`", self.route.service);
                Err(EffectError::new(ErrorKind::NotFound, message).not_applied())
            }
        }
    }

    /// As the program has it.
    pub(super) fn view(&self, mut seen: impl FnMut(&KeptTarget) -> Seen) -> RouteView {
        let target = |target: &KeptTarget| {
            let seen = seen(target);
            TargetView {
                name: target.name.clone(),
                address: seen.address,
                weight: seen.weight,
                healthy: seen.healthy,
                draining: seen.draining,
                in_flight: seen.in_flight,
                streams: 0,
                served: seen.served,
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
        }
    }
}

/// Refuses what only the embedded proxy can.
pub(super) fn plain_step(kind: &'static str, step: &Targets) -> Result<(), EffectError> {
    if step.sticky {
        return Err(unsupported(kind, "keep visitors with one target (`sticky`)"));
    }
    if step.canary.is_some() {
        return Err(unsupported(kind, "choose a target by header or cookie (`canary`)"));
    }
    let mut addresses: Vec<&str> = step.targets.iter().map(|target| target.address.as_str()).collect();
    addresses.sort_unstable();
    match addresses.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(twice) => {
            let message = format!("two targets have the address {}: `{kind}` tells targets apart by it", twice[0]);
            Err(EffectError::new(ErrorKind::Invalid, message).not_applied())
        }
    }
}

/// How long requests, and streams, may take to end: these programs do not tell them apart.
pub(super) fn longest(request: &crate::effect::traffic::DrainTarget) -> std::time::Duration {
    request.streams_deadline.map_or(request.deadline.0, |streams| streams.0.max(request.deadline.0))
}
