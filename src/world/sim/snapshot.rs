//! What is on the simulated host at an instant, less what no undo can bring back: times, the log of what was sent.
//! For the question "was everything taken back?". Knows nothing of how it came about.

use std::collections::BTreeMap;

use super::sim_host::SimHost;
use super::volumes::SimVolume;
use crate::effect::container::ContainerState;

/// The state of the whole host. Two are equal when nobody could tell them apart but by the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub containers: BTreeMap<String, Standing>,
    /// Full name to image id.
    pub images: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, SimVolume>,
    /// Name to labels.
    pub networks: BTreeMap<String, BTreeMap<String, String>>,
    /// Repository to commit.
    pub repos: BTreeMap<String, String>,
    /// Service to its targets and their weights.
    pub routes: BTreeMap<String, BTreeMap<String, u32>>,
    /// Service to run.
    pub locks: BTreeMap<String, String>,
}

/// One container.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub id: String,
    pub image_id: String,
    pub state: ContainerState,
    pub exit_code: Option<i64>,
    pub ports: Vec<u16>,
    pub networks: BTreeMap<String, Vec<String>>,
    pub labels: BTreeMap<String, String>,
}

impl SimHost {
    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.settle();
        let containers = self.containers.all().map(|container| {
            let standing = Standing {
                id: container.id.clone(),
                image_id: container.image_id.clone(),
                state: container.state,
                exit_code: container.exit_code.filter(|_| !container.is_running()),
                ports: container.ports.iter().map(|port| port.host_port).collect(),
                networks: container.networks.clone(),
                labels: container.labels.clone(),
            };
            (container.name().to_owned(), standing)
        });
        let head = |repo: &super::git::Repo| repo.commits.get(repo.head).map(|commit| commit.id.clone());
        Snapshot {
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
            locks: self.locks.iter().map(|(service, held)| (service.clone(), held.run.to_string())).collect(),
        }
    }
}
