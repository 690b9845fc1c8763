//! Local networks. All processes share the machine's own network: a network is a name with members, no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LocalEngine;
use super::folder::{check_name, io_error, not_found, random_id, read_json, write_json};
use crate::effect::container::Removed;
use crate::effect::network::{ConnectNetwork, CreateNetwork, ListNetworks, Network, RemoveNetwork};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// `networks/NAME.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NetworkRecord {
    id: String,
    driver: String,
    internal: bool,
    labels: BTreeMap<String, String>,
    /// Container id to its other names.
    members: BTreeMap<String, Vec<String>>,
}

/// Networks that every engine has, and that nobody makes.
const GIVEN: [&str; 3] = ["bridge", "host", "none"];

impl LocalEngine {
    fn network_file(&self, name: &str) -> PathBuf {
        self.folder.networks().join(format!("{name}.json"))
    }

    fn network_find(&self, name: &str) -> Result<Option<NetworkRecord>, EffectError> {
        check_name("network", name)?;
        read_json(&self.network_file(name))
    }

    fn network_need(&self, name: &str) -> Result<NetworkRecord, EffectError> {
        match self.network_find(name)? {
            Some(network) => Ok(network),
            None => {
                let known = self.folder.names(&self.folder.networks())?;
                Err(not_found("network", name, known.iter().map(String::as_str), "make it first: `network_create`"))
            }
        }
    }

    pub(super) fn create_network(&self, call: &Call, request: &CreateNetwork) -> Result<Network, EffectError> {
        let _guard = self.folder.guard()?;
        let name = request.name.clone();
        if let Some(there) = self.network_find(&name)? {
            let created = call.made(&there.labels);
            return Ok(Network { id: there.id, name, driver: there.driver, created, labels: there.labels });
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
            let Some(there) = self.network_find(&name)? else { continue };
            networks.push(Network { id: there.id, name, driver: there.driver, created: false, labels: there.labels });
        }
        networks.retain(|network| super::has_labels(&network.labels, &request.labels));
        Ok(networks)
    }

    pub(super) fn connect_network(&self, request: &ConnectNetwork) -> Result<(), EffectError> {
        let _guard = self.folder.guard()?;
        let container = self.need(&request.container.key)?;
        if request.disconnect {
            let mut network = self.network_need(&request.network)?;
            return match network.members.remove(&container.id) {
                Some(_) => write_json(&self.network_file(&request.network), &network),
                None => Ok(()),
            };
        }
        self.join_network(&request.network, &container.id, &request.aliases)
    }

    /// Enters a container in a network's list. The caller holds the guard.
    pub(super) fn join_network(&self, name: &str, id: &str, aliases: &[String]) -> Result<(), EffectError> {
        if GIVEN.contains(&name) {
            return Ok(());
        }
        let mut network = self.network_need(name)?;
        network.members.insert(id.to_owned(), aliases.to_vec());
        write_json(&self.network_file(name), &network)
    }

    /// Fails unless all the networks are there.
    pub(super) fn check_networks(&self, names: &[String]) -> Result<(), EffectError> {
        names
            .iter()
            .filter(|name| !GIVEN.contains(&name.as_str()))
            .try_for_each(|name| self.network_need(name).map(drop))
    }

    /// Names of the networks that a container is on. A damaged network file counts as without members here:
    /// it must not hide the container.
    pub(super) fn networks_of(&self, id: &str) -> Result<Vec<String>, EffectError> {
        let names = self.folder.names(&self.folder.networks())?;
        let is_on = |name: &String| matches!(read_json::<NetworkRecord>(&self.network_file(name)), Ok(Some(network)) if network.members.contains_key(id));
        Ok(names.into_iter().filter(is_on).collect())
    }

    /// Takes a removed container off all networks. The caller holds the guard.
    pub(super) fn leave_networks(&self, id: &str) -> Result<(), EffectError> {
        for name in self.networks_of(id)? {
            if let Some(mut network) = self.network_find(&name)? {
                network.members.remove(id);
                write_json(&self.network_file(&name), &network)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_network(&self, call: &Call, request: &RemoveNetwork) -> Result<Removed, EffectError> {
        let _guard = self.folder.guard()?;
        let network = match self.network_need(&request.name) {
            Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => {
                return Ok(Removed { removed: false });
            }
            other => other?,
        };
        if request.only_own && !super::is_own(call, &network.labels) {
            return Ok(Removed { removed: false });
        }
        for id in network.members.keys() {
            let Some(member) = self.find(id)? else { continue };
            if self.life(&member)?.is_running() {
                return Err(EffectError::new(
                    ErrorKind::Conflict,
                    format!("network `{}` is used by container `{}`", request.name, member.spec.name),
                )
                .hint("stop the container or take it off the network: `network_connect` with `disconnect: true`")
                .not_applied());
            }
        }
        let file = self.network_file(&request.name);
        fs::remove_file(&file).map_err(|why| io_error("remove", &file, &why))?;
        Ok(Removed { removed: true })
    }
}
