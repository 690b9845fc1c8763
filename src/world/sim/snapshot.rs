//! The state of the simulated host at one instant, without what no rollback can restore: times and sent notifications.
//! Answers whether a rollback restored everything.

use std::collections::{BTreeMap, BTreeSet};

use super::model::volume::SimVolume;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::effect::compose::FormerContainer;
use crate::effect::container::ContainerState;

/// The state of the whole host. Two snapshots are equal when the hosts differ only in their clocks.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSnapshot {
    /// Name to container.
    pub containers: BTreeMap<String, ContainerSnapshot>,
    /// Full name to image id.
    pub images: BTreeMap<String, String>,
    /// Name to volume.
    pub volumes: BTreeMap<String, SimVolume>,
    /// Name to labels.
    pub networks: BTreeMap<String, BTreeMap<String, String>>,
    /// Repository to commit.
    pub repos: BTreeMap<String, String>,
    /// Service to its targets and their weights.
    pub routes: BTreeMap<String, BTreeMap<String, u32>>,
    /// The services whose requests are held.
    pub held: BTreeSet<String>,
    /// Service to run.
    pub locks: BTreeMap<String, String>,
}

/// The state of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSnapshot {
    /// The container's id.
    pub id: String,
    /// The id of its image.
    pub image_id: String,
    /// The state it is in.
    pub state: ContainerState,
    /// The exit code; `None` while it is running.
    pub exit_code: Option<i64>,
    /// Published host ports.
    pub ports: Vec<u16>,
    /// Network to aliases.
    pub networks: BTreeMap<String, Vec<String>>,
    /// Labels, those of deployer included.
    pub labels: BTreeMap<String, String>,
}

impl SimHost {
    pub(super) fn snapshot(&mut self) -> HostSnapshot {
        self.run_due_events();
        let containers = self.containers.all().map(|container| {
            let mut labels = container.labels.clone();
            // A container that compose replaced and that was created again counts as the same one.
            let is_copy = labels.get(labels::ROLE).is_some_and(|role| role == FormerContainer::COPY_ROLE);
            let former = if is_copy { None } else { labels.remove(labels::COPY_OF) };
            let standing = ContainerSnapshot {
                id: former.unwrap_or_else(|| container.id.clone()),
                image_id: container.image_id.clone(),
                state: container.state,
                exit_code: container.exit_code.filter(|_| !container.is_running()),
                ports: container.ports.iter().map(|port| port.host_port).collect(),
                networks: container.networks.clone(),
                labels,
            };
            (container.name().to_owned(), standing)
        });
        let head = |repo: &super::model::git::SimRepo| repo.commits.get(repo.head).map(|commit| commit.id.clone());
        HostSnapshot {
            containers: containers.collect(),
            images: self.images.names().clone(),
            volumes: self.volumes.0.clone(),
            networks: self
                .networks
                .0
                .iter()
                .map(|(name, (_, network))| (name.clone(), network.labels.clone()))
                .collect(),
            repos: self.repos.iter().map(|(path, repo)| (path.clone(), head(repo).unwrap_or_default())).collect(),
            routes: self.routes.iter().map(|(service, known)| (service.clone(), known.weights())).collect(),
            held: {
                let held = self.routes.iter().filter(|(_, known)| known.is_closed(self.now()));
                held.map(|(service, _)| service.clone()).collect()
            },
            locks: self.locks.iter().map(|(service, held)| (service.clone(), held.run.to_string())).collect(),
        }
    }
}
