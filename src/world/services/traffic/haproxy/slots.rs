//! Assigns targets to the servers of a backend, and makes the commands for it. Knows no socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::runtime::Slot;
use crate::effect::traffic::haproxy_needs_ip_address;
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::traffic::stored_route::{ObservedTarget, StoredRoute, StoredTarget};

/// The largest weight that HAProxy knows.
const WEIGHT_MAX: u64 = 256;

/// Which target is in which server. HAProxy's servers have fixed names, so this is stored beside HAProxy's own state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SlotAssignment {
    #[serde(rename = "kept")]
    pub stored: StoredRoute,
    /// Name of the server by name of the target.
    #[serde(default)]
    pub slots: BTreeMap<String, String>,
}

impl SlotAssignment {
    /// Assigns a server to each target: the one that already has its address, or else an unused one.
    pub(super) fn assign(&mut self, backend: &str, slots: &[Slot]) -> Result<(), EffectError> {
        let previous = std::mem::take(&mut self.slots);
        let mut free: Vec<&Slot> = slots.iter().collect();
        // Servers with requests of a previous target come last, since its drain counts these requests.
        free.sort_by_key(|slot| (slot.in_flight > 0, !slot.in_maintenance));
        let mut unassigned = Vec::new();
        for target in &self.stored.targets {
            let address = socket(target)?;
            let assigned =
                |slot: &&Slot| slot.address == Some(address) && previous.get(&target.name) == Some(&slot.name);
            let in_use = |slot: &&Slot| slot.address == Some(address) && !slot.in_maintenance;
            match free.iter().position(assigned).or_else(|| free.iter().position(in_use)) {
                Some(at) => drop(self.slots.insert(target.name.clone(), free.remove(at).name.clone())),
                None => unassigned.push(target.name.clone()),
            }
        }
        let needed = self.stored.targets.len();
        for name in unassigned {
            if free.is_empty() {
                let message = format!("the backend `{backend}` has {} servers for {needed} targets", slots.len());
                return Err(EffectError::new(ErrorKind::Conflict, message)
                    .hint("raise the number in its `server-template` line, and reload HAProxy")
                    .not_applied());
            }
            self.slots.insert(name, free.remove(0).name.clone());
        }
        Ok(())
    }

    /// Returns the commands for HAProxy. Targets that get requests come before those that no longer do.
    pub(super) fn commands(&self, backend: &str, slots: &[Slot]) -> Result<Vec<String>, EffectError> {
        let mut commands = Vec::new();
        let weights = scaled(&self.stored.targets);
        let mut targets: Vec<(&StoredTarget, u32)> = self.stored.targets.iter().zip(weights).collect();
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
        let disable = slots.iter().filter(unused).map(|slot| format!("set server {backend}/{} state maint", slot.name));
        commands.extend(disable);
        Ok(commands)
    }

    /// Returns a target as HAProxy reports it.
    pub(super) fn observe(&self, target: &StoredTarget, slots: &[Slot]) -> ObservedTarget {
        let at = self.stored.targets.iter().position(|known| known == target).unwrap_or(0);
        let expected = scaled(&self.stored.targets).get(at).copied();
        match self.slot_of(target, slots) {
            None => ObservedTarget { address: "none".into(), ..ObservedTarget::default() },
            Some(slot) => ObservedTarget {
                address: match slot.address {
                    Some(address) if target.address.parse() == Ok(address) => target.address.clone(),
                    other => other.map_or_else(|| "none".into(), |address| address.to_string()),
                },
                weight: match slot.in_maintenance {
                    true => 0,
                    false if expected == Some(slot.weight) => target.weight,
                    false => slot.weight,
                },
                healthy: slot.up,
                draining: slot.draining,
                in_flight: slot.in_flight,
                served: Some(slot.served),
            },
        }
    }

    fn slot_of<'a>(&self, target: &StoredTarget, slots: &'a [Slot]) -> Option<&'a Slot> {
        let name = self.slots.get(&target.name)?;
        slots.iter().find(|slot| slot.name == *name)
    }
}

/// Returns weights that HAProxy accepts: unchanged if they fit, or else in proportion. No weight above 0 becomes 0.
fn scaled(targets: &[StoredTarget]) -> Vec<u32> {
    let largest = targets.iter().map(|target| u64::from(target.weight)).max().unwrap_or(0).max(WEIGHT_MAX);
    let scale = |weight: u64| if weight == 0 { 0 } else { (weight * WEIGHT_MAX / largest).max(1) };
    targets.iter().map(|target| u32::try_from(scale(u64::from(target.weight))).unwrap_or(u32::MAX)).collect()
}

fn socket(target: &StoredTarget) -> Result<SocketAddr, EffectError> {
    target.address.parse().map_err(|_| haproxy_needs_ip_address(&target.address))
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
            has_host_name: true,
            in_flight,
            served: 0,
        }
    }

    fn assignment(targets: &[(&str, &str, u32)]) -> SlotAssignment {
        let target = |(name, address, weight): &(&str, &str, u32)| StoredTarget {
            name: (*name).to_owned(),
            address: (*address).to_owned(),
            weight: *weight,
            draining: false,
        };
        let route = serde_json::json!({"service": "web", "address": "0.0.0.0:80"});
        let route = serde_json::from_value(route).unwrap();
        let stored = StoredRoute { route, epoch: 0, targets: targets.iter().map(target).collect() };
        SlotAssignment { stored, slots: BTreeMap::new() }
    }

    #[test]
    fn targets_keep_their_servers_and_new_ones_get_free_ones() {
        let slots = [
            slot("s1", "10.0.0.1:80", false, 3),
            slot("s2", "10.0.0.9:80", false, 2),
            slot("s3", "127.0.0.1:1", true, 0),
        ];
        let mut assignment = assignment(&[("new", "10.0.0.2:80", 1), ("old", "10.0.0.1:80", 0)]);
        assignment.assign("web", &slots).unwrap();
        assert_eq!(assignment.slots["old"], "s1");
        assert_eq!(assignment.slots["new"], "s3", "s2 still has requests");
        let commands = assignment.commands("web", &slots).unwrap();
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
        let mut crowd = super::tests::assignment(&[
            ("a", "10.0.0.2:1", 1),
            ("b", "10.0.0.2:2", 1),
            ("c", "10.0.0.2:3", 1),
            ("d", "10.0.0.2:4", 1),
        ]);
        assert_eq!(crowd.assign("web", &slots).unwrap_err().kind, ErrorKind::Conflict);
    }

    #[test]
    fn weights_keep_their_proportion() {
        let weights = |weights: &[u32]| {
            let targets: Vec<_> = weights.iter().map(|weight| ("t", "10.0.0.1:80", *weight)).collect();
            scaled(&assignment(&targets).stored.targets)
        };
        assert_eq!(weights(&[1, 99, 0]), [1, 99, 0]);
        assert_eq!(weights(&[512, 256]), [256, 128]);
        assert_eq!(weights(&[1, 100_000]), [1, 256]);
    }
}
