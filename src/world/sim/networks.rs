//! Networks and the addresses on them. Knows nothing of what containers do there.
//!
//! Faults: no such network, a network that a running container is on, one of the engine's own that is to be removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::SimContainer;
use super::containers::carries;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::network::{
    ConnectNetwork, CreateNetwork, ListNetworks, Network, NetworkEffect, NetworkOutcome, RemoveNetwork,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// The networks that every engine has.
const BUILT_IN: [&str; 3] = ["bridge", "host", "none"];

/// A network in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimNetwork {
    pub driver: String,
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
}

impl Default for SimNetwork {
    fn default() -> Self {
        Self { driver: "bridge".into(), internal: false, labels: BTreeMap::new() }
    }
}

/// Networks by name, with their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks(pub(super) BTreeMap<String, (String, SimNetwork)>);

impl Networks {
    pub(super) fn contains(&self, name: &str) -> bool {
        BUILT_IN.contains(&name) || self.0.contains_key(name)
    }
}

fn missing(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("network `{name}` does not exist"))
        .hint(format!("docker network create {name}"))
        .not_applied()
}

impl SimHost {
    pub(super) fn network(&mut self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        Ok(match effect {
            NetworkEffect::Create(request) => NetworkOutcome::Create(self.create_network(call, request)),
            NetworkEffect::List(request) => NetworkOutcome::List(self.list_networks(request)),
            NetworkEffect::Connect(request) => NetworkOutcome::Connect(self.connect(request)?),
            NetworkEffect::Remove(request) => NetworkOutcome::Remove(self.remove_network(call, request)?),
        })
    }

    /// The container's address on each of its networks; empty while it does not run.
    pub(super) fn addresses(&self, container: &SimContainer) -> BTreeMap<String, String> {
        let address = |network: &String| {
            let subnet = 17 + self.networks.0.keys().position(|name| name == network).map_or(0, |place| place + 1);
            let host = 2 + container.number;
            format!("172.{subnet}.{}.{}", host / 250, host % 250)
        };
        container
            .networks
            .keys()
            .map(|network| {
                let plain = matches!(network.as_str(), "host" | "none");
                (network.clone(), if container.is_running() && !plain { address(network) } else { String::new() })
            })
            .collect()
    }

    fn create_network(&mut self, call: &Call, request: &CreateNetwork) -> Network {
        if !self.networks.0.contains_key(&request.name) {
            let mut labels = request.labels.clone();
            labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
            let network = SimNetwork { driver: request.driver.clone(), internal: request.internal, labels };
            self.networks.0.insert(request.name.clone(), (self.ids.next(), network));
        }
        let (id, network) = self.networks.0.get(&request.name).cloned().unwrap_or_default();
        let created = call.made(&network.labels);
        Network { id, name: request.name.clone(), driver: network.driver, created, labels: network.labels }
    }

    fn list_networks(&self, request: &ListNetworks) -> Vec<Network> {
        let listed = self.networks.0.iter().map(|(name, (id, network))| Network {
            id: id.clone(),
            name: name.clone(),
            driver: network.driver.clone(),
            created: false,
            labels: network.labels.clone(),
        });
        let wanted = |network: &Network| request.name.as_ref().is_none_or(|wanted| *wanted == network.name);
        listed.filter(|network| wanted(network) && carries(&network.labels, &request.labels)).collect()
    }

    fn connect(&mut self, request: &ConnectNetwork) -> Result<(), EffectError> {
        let exists = self.networks.contains(&request.network);
        let name = self.find(&request.container).map(|container| container.name().to_owned());
        if request.disconnect {
            if let (true, Ok(name)) = (exists, name) {
                self.containers.get_mut(&name).map(|container| container.networks.remove(&request.network));
            }
            return Ok(());
        }
        let name = name?;
        if !exists {
            return Err(missing(&request.network));
        }
        if let Some(container) = self.containers.get_mut(&name) {
            container.networks.entry(request.network.clone()).or_insert_with(|| request.aliases.clone());
        }
        Ok(())
    }

    fn remove_network(&mut self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        if BUILT_IN.contains(&request.name.as_str()) {
            let message = format!("network `{}` is the engine's own and cannot be removed", request.name);
            return Err(EffectError::new(ErrorKind::Refused, message).not_applied());
        }
        let Some((_, network)) = self.networks.0.get(&request.name) else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing(&request.name)) };
        };
        if request.only_own && network.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        if let Some(user) = self.containers.running().find(|container| container.networks.contains_key(&request.name)) {
            let message = format!("network `{}` is used by container `{}`", request.name, user.name());
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint(format!("docker network disconnect {} {}", request.name, user.name()))
                .not_applied());
        }
        self.networks.0.remove(&request.name);
        Ok(Removed { removed: true })
    }
}
