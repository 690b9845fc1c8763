//! Effects on simulated networks, and addresses on them. Knows nothing of what containers do there.
//!
//! Faults: a network that does not exist, that a running container uses, or that belongs to the engine.

use std::collections::BTreeMap;

use super::container::has_labels;
use super::model::container::SimContainer;
use super::model::network::SimNetwork;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::network::{
    ConnectNetwork, CreateNetwork, ListNetworks, Network, NetworkEffect, NetworkOutcome, RemoveNetwork, network_in_use,
    network_not_found,
};
use crate::world::Call;

impl SimHost {
    pub(super) fn network(&mut self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        Ok(match effect {
            NetworkEffect::Create(request) => NetworkOutcome::Create(self.create_network(call, request)),
            NetworkEffect::List(request) => NetworkOutcome::List(self.list_networks(request)),
            NetworkEffect::Connect(request) => NetworkOutcome::Connect(self.connect(request)?),
            NetworkEffect::Remove(request) => NetworkOutcome::Remove(self.remove_network(call, request)?),
        })
    }

    /// Returns the container's address on each of its networks; empty while it is not running.
    pub(super) fn addresses(&self, container: &SimContainer) -> BTreeMap<String, String> {
        let address = |network: &String| {
            let subnet =
                17 + self.networks.0.keys().position(|name| name == network).map_or(0, |position| position + 1);
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
        let created = call.created(&network.labels);
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
        listed.filter(|network| wanted(network) && has_labels(&network.labels, &request.labels)).collect()
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
            return Err(network_not_found(&request.network));
        }
        if let Some(container) = self.containers.get_mut(&name) {
            container.networks.entry(request.network.clone()).or_insert_with(|| request.aliases.clone());
        }
        Ok(())
    }

    fn remove_network(&mut self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        request.validate()?;
        let Some((_, network)) = self.networks.0.get(&request.name) else {
            return if request.missing_ok {
                Ok(Removed { removed: false })
            } else {
                Err(network_not_found(&request.name))
            };
        };
        if request.only_own && network.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        if let Some(user) = self.containers.running().find(|container| container.networks.contains_key(&request.name)) {
            return Err(network_in_use(&request.name, &[user.name().to_owned()]));
        }
        self.networks.0.remove(&request.name);
        Ok(Removed { removed: true })
    }
}
