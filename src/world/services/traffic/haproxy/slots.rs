//! Which target is in which of a backend's servers, and what HAProxy is told so that it is. Knows no socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::super::kept_route::{KeptRoute, KeptTarget, Seen};
use super::runtime::Slot;
use crate::effect::{EffectError, ErrorKind};

/// The largest weight that HAProxy knows.
const WEIGHT_MAX: u64 = 256;

/// What is kept beside HAProxy's own state: its servers have fixed names, so who is in them stands here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Placed {
    pub kept: KeptRoute,
    /// Target to server.
    #[serde(default)]
    pub slots: BTreeMap<String, String>,
}

impl Placed {
    /// Gives every target a server: the one that has its address already, else one that nobody needs.
    pub(super) fn place(&mut self, backend: &str, slots: &[Slot]) -> Result<(), EffectError> {
        let former = std::mem::take(&mut self.slots);
        let mut free: Vec<&Slot> = slots.iter().collect();
        // Those that still have requests of a former target come last: its drain counts them.
        free.sort_by_key(|slot| (slot.in_flight > 0, !slot.in_maintenance));
        let mut homeless = Vec::new();
        for target in &self.kept.targets {
            let address = socket(target)?;
            let own = |slot: &&Slot| slot.address == Some(address) && former.get(&target.name) == Some(&slot.name);
            let same = |slot: &&Slot| slot.address == Some(address) && !slot.in_maintenance;
            match free.iter().position(own).or_else(|| free.iter().position(same)) {
                Some(at) => drop(self.slots.insert(target.name.clone(), free.remove(at).name.clone())),
                None => homeless.push(target.name.clone()),
            }
        }
        let needed = self.kept.targets.len();
        for name in homeless {
            if free.is_empty() {
                let message =
                    format!("the backend `{backend}` has {} servers, and {needed} targets need one", slots.len());
                return Err(EffectError::new(ErrorKind::Conflict, message)
                    .hint("raise the number in its line `server-template`, and reload HAProxy")
                    .not_applied());
            }
            self.slots.insert(name, free.remove(0).name.clone());
        }
        Ok(())
    }

    /// What HAProxy is told: first who gets requests, then who gets none any more.
    pub(super) fn commands(&self, backend: &str, slots: &[Slot]) -> Result<Vec<String>, EffectError> {
        let mut commands = Vec::new();
        let weights = scaled(&self.kept.targets);
        let mut targets: Vec<(&KeptTarget, u32)> = self.kept.targets.iter().zip(weights).collect();
        targets.sort_by_key(|(target, _)| !target.is_live());
        for (target, weight) in targets {
            let (Some(slot), address) = (self.slot_of(target, slots), socket(target)?) else { continue };
            let server = format!("{backend}/{}", slot.name);
            if slot.address != Some(address) {
                if !slot.in_maintenance {
                    commands.push(format!("set server {server} state maint"));
                }
                commands.push(format!("set server {server} addr {} port {}", address.ip(), address.port()));
            }
            commands.push(format!("set server {server} weight {weight}"));
            commands.push(format!("set server {server} state {}", if target.draining { "drain" } else { "ready" }));
        }
        let unused = |slot: &&Slot| !slot.in_maintenance && !self.slots.values().any(|used| *used == slot.name);
        let put_away =
            slots.iter().filter(unused).map(|slot| format!("set server {backend}/{} state maint", slot.name));
        commands.extend(put_away);
        Ok(commands)
    }

    /// What HAProxy says of a target.
    pub(super) fn seen(&self, target: &KeptTarget, slots: &[Slot]) -> Seen {
        let at = self.kept.targets.iter().position(|known| known == target).unwrap_or(0);
        let told = scaled(&self.kept.targets).get(at).copied();
        match self.slot_of(target, slots) {
            None => Seen { address: "none".into(), ..Seen::default() },
            Some(slot) => Seen {
                address: match slot.address {
                    Some(address) if target.address.parse() == Ok(address) => target.address.clone(),
                    other => other.map_or_else(|| "none".into(), |address| address.to_string()),
                },
                weight: match slot.in_maintenance {
                    true => 0,
                    false if told == Some(slot.weight) => target.weight,
                    false => slot.weight,
                },
                healthy: slot.up,
                draining: slot.draining,
                in_flight: slot.in_flight,
                served: Some(slot.served),
            },
        }
    }

    pub(super) fn slot_of<'a>(&self, target: &KeptTarget, slots: &'a [Slot]) -> Option<&'a Slot> {
        let name = self.slots.get(&target.name)?;
        slots.iter().find(|slot| slot.name == *name)
    }
}

/// HAProxy's weights: the same where they fit, else in proportion, with nobody's share rounded to none.
fn scaled(targets: &[KeptTarget]) -> Vec<u32> {
    let largest = targets.iter().map(|target| u64::from(target.weight)).max().unwrap_or(0).max(WEIGHT_MAX);
    let scale = |weight: u64| if weight == 0 { 0 } else { (weight * WEIGHT_MAX / largest).max(1) };
    targets.iter().map(|target| u32::try_from(scale(u64::from(target.weight))).unwrap_or(u32::MAX)).collect()
}

fn socket(target: &KeptTarget) -> Result<SocketAddr, EffectError> {
    target.address.parse().map_err(|_| {
        let message = format!(
            "the target `{}` is not an IP address with a port: HAProxy's socket takes no names",
            target.address
        );
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(name: &str, address: &str, in_maintenance: bool, in_flight: u64) -> Slot {
        Slot {
            name: name.to_owned(),
            address: address.parse().ok(),
            weight: 1,
            up: true,
            in_maintenance,
            draining: false,
            is_named: true,
            in_flight,
            served: 0,
        }
    }

    fn placed(targets: &[(&str, &str, u32)]) -> Placed {
        let target = |(name, address, weight): &(&str, &str, u32)| KeptTarget {
            name: (*name).to_owned(),
            address: (*address).to_owned(),
            weight: *weight,
            draining: false,
        };
        let route = serde_json::json!({"service": "web", "address": "0.0.0.0:80"});
        let route = serde_json::from_value(route).unwrap();
        let kept = KeptRoute { route, epoch: 0, targets: targets.iter().map(target).collect() };
        Placed { kept, slots: BTreeMap::new() }
    }

    #[test]
    fn targets_stay_where_they_are_and_new_ones_take_what_is_free() {
        let slots = [
            slot("s1", "10.0.0.1:80", false, 3),
            slot("s2", "10.0.0.9:80", false, 2),
            slot("s3", "127.0.0.1:1", true, 0),
        ];
        let mut placed = placed(&[("new", "10.0.0.2:80", 1), ("old", "10.0.0.1:80", 0)]);
        placed.place("web", &slots).unwrap();
        assert_eq!(placed.slots["old"], "s1");
        assert_eq!(placed.slots["new"], "s3", "s2 still has requests");
        let commands = placed.commands("web", &slots).unwrap();
        assert_eq!(
            commands,
            [
                "set server web/s3 addr 10.0.0.2 port 80",
                "set server web/s3 weight 1",
                "set server web/s3 state ready",
                "set server web/s1 weight 0",
                "set server web/s1 state ready",
                "set server web/s2 state maint",
            ]
        );
        let mut crowd = super::tests::placed(&[
            ("a", "10.0.0.2:1", 1),
            ("b", "10.0.0.2:2", 1),
            ("c", "10.0.0.2:3", 1),
            ("d", "10.0.0.2:4", 1),
        ]);
        assert_eq!(crowd.place("web", &slots).unwrap_err().kind, ErrorKind::Conflict);
    }

    #[test]
    fn weights_keep_their_proportion() {
        let weights = |weights: &[u32]| {
            let targets: Vec<_> = weights.iter().map(|weight| ("t", "10.0.0.1:80", *weight)).collect();
            scaled(&placed(&targets).kept.targets)
        };
        assert_eq!(weights(&[1, 99, 0]), [1, 99, 0]);
        assert_eq!(weights(&[512, 256]), [256, 128]);
        assert_eq!(weights(&[1, 100_000]), [1, 256]);
    }
}
