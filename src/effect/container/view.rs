//! A container as scripts see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::RestartPolicy;
use crate::base::port_mapping::Protocol;

/// A container as scripts see it. The values of environment variables are left out: they may be secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The name, without a slash.
    pub name: String,
    /// The image's name as it was requested.
    pub image: String,
    /// The image's id.
    pub image_id: String,
    /// What it does now.
    pub state: ContainerState,
    /// The exit code, once it has exited.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// `starting`, `healthy` or `unhealthy`; missing without a health check.
    #[serde(default)]
    pub health: Option<String>,
    /// Whether it was killed because it ran out of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub started_at: Option<String>,
    /// The ports that the engine published; of a stopped container, those that it will publish.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// The labels, deployer's included.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The mounts.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// From the name of a network to the container's address in it.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// The names of the environment variables.
    #[serde(default)]
    pub environment: Vec<String>,
    /// When the engine restarts it.
    #[serde(default)]
    pub restart: RestartPolicy,
}

impl Container {
    /// Returns whether it has a process: running, restarting or paused.
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting | ContainerState::Paused)
    }
}

/// The state of a container, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "Docker's own words")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// A port as the engine published it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address that it listens on.
    pub address: String,
    /// The port of the host.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}
