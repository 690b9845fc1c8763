//! Local networks. All processes share the network of the machine, so a network is only a name with members.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::local_engine::{LocalEngine, has_labels, is_own};
use super::state_folder::{check_name, io_error, random_id, read_json, with_suggestion, write_json};
use crate::effect::container::Removed;
use crate::effect::network::{
    BUILT_IN_NETWORKS, ConnectNetwork, CreateNetwork, ListNetworks, Network, RemoveNetwork, network_in_use,
    network_not_found,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// `networks/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NetworkRecord {
    id: String,
    driver: String,
    internal: bool,
    labels: BTreeMap<String, String>,
    /// Container id to aliases.
    members: BTreeMap<String, Vec<String>>,
}

impl LocalEngine {
    fn network_file(&self, name: &str) -> PathBuf {
        self.folder.networks().join(format!("{name}.json"))
    }

    fn find_network(&self, name: &str) -> Result<Option<NetworkRecord>, EffectError> {
        check_name("network", name)?;
        read_json(&self.network_file(name))
    }

    fn require_network(&self, name: &str) -> Result<NetworkRecord, EffectError> {
        match self.find_network(name)? {
            Some(network) => Ok(network),
            None => {
                let known = self.folder.names(&self.folder.networks())?;
                Err(with_suggestion(network_not_found(name), name, known.iter().map(String::as_str)))
            }
        }
    }

    pub(super) fn create_network(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let _guard = self.folder.guard()?;
        let name = request.name.clone();
        if let Some(existing) = self.find_network(&name)? {
            let created = call.created(&existing.labels);
            return Ok(Network { id: existing.id, name, driver: existing.driver, created, labels: existing.labels });
        }
        let mut labels = request.labels.clone();
        labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        let record = NetworkRecord {
            id: random_id()?,
            driver: request.driver.clone(),
            internal: request.internal,
            labels,
            members: BTreeMap::new(),
        };
        write_json(&self.network_file(&name), &record)?;
        Ok(Network { id: record.id, name, driver: record.driver, created: true, labels: record.labels })
    }

    pub(super) fn list_networks(&self, request: &ListNetworks) -> Result<Vec<Network>, EffectError> {
        let mut networks = Vec::new();
        for name in self.folder.names(&self.folder.networks())? {
            if request.name.as_ref().is_some_and(|wanted| *wanted != name) {
                continue;
            }
            let Some(existing) = self.find_network(&name)? else { continue };
            networks.push(Network {
                id: existing.id,
                name,
                driver: existing.driver,
                created: false,
                labels: existing.labels,
            });
        }
        networks.retain(|network| has_labels(&network.labels, &request.labels));
        Ok(networks)
    }

    pub(super) fn connect_network(&self, request: &ConnectNetwork) -> Result<(), EffectError> {
        let _guard = self.folder.guard()?;
        let container = self.require_container(&request.container.key)?;
        if request.disconnect {
            let mut network = self.require_network(&request.network)?;
            return match network.members.remove(&container.id) {
                Some(_) => write_json(&self.network_file(&request.network), &network),
                None => Ok(()),
            };
        }
        self.join_network(&request.network, &container.id, &request.aliases)
    }

    /// Adds a container to a network. The caller holds the guard.
    pub(super) fn join_network(&self, name: &str, id: &str, aliases: &[String]) -> Result<(), EffectError> {
        if BUILT_IN_NETWORKS.contains(&name) {
            return Ok(());
        }
        let mut network = self.require_network(name)?;
        network.members.insert(id.to_owned(), aliases.to_vec());
        write_json(&self.network_file(name), &network)
    }

    /// Fails unless all networks exist.
    pub(super) fn check_networks(&self, names: &[String]) -> Result<(), EffectError> {
        names
            .iter()
            .filter(|name| !BUILT_IN_NETWORKS.contains(&name.as_str()))
            .try_for_each(|name| self.require_network(name).map(drop))
    }

    /// Returns the names of a container's networks. A damaged network file counts as having no members, since it must
    /// not hide the container.
    pub(super) fn networks_of(&self, id: &str) -> Result<Vec<String>, EffectError> {
        let names = self.folder.names(&self.folder.networks())?;
        let is_on = |name: &String| matches!(read_json::<NetworkRecord>(&self.network_file(name)), Ok(Some(network)) if network.members.contains_key(id));
        Ok(names.into_iter().filter(is_on).collect())
    }

    /// Removes a container from all networks. The caller holds the guard.
    pub(super) fn leave_networks(&self, id: &str) -> Result<(), EffectError> {
        for name in self.networks_of(id)? {
            if let Some(mut network) = self.find_network(&name)? {
                network.members.remove(id);
                write_json(&self.network_file(&name), &network)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_network(&self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        request.validate()?;
        let _guard = self.folder.guard()?;
        let network = match self.require_network(&request.name) {
            Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => {
                return Ok(Removed { removed: false });
            }
            other => other?,
        };
        if request.only_own && !is_own(call, &network.labels) {
            return Ok(Removed { removed: false });
        }
        for id in network.members.keys() {
            let Some(member) = self.find_container(id)? else { continue };
            if self.container_status(&member)?.is_running() {
                return Err(network_in_use(&request.name, &[member.spec.name]));
            }
        }
        let file = self.network_file(&request.name);
        fs::remove_file(&file).map_err(|why| io_error("remove", &file, &why))?;
        Ok(Removed { removed: true })
    }
}
