//! A container as scripts see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ContainerOutcome;
use crate::base::port_mapping::Protocol;
use crate::effect::Outcome;

/// A container as scripts see it. Environment values are left out: they may be secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: String,
    pub name: String,
    /// The image's name as it was asked for.
    pub image: String,
    pub image_id: String,
    pub state: ContainerState,
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// `starting`, `healthy`, `unhealthy`; none without a health check.
    #[serde(default)]
    pub health: Option<String>,
    #[serde(default)]
    pub oom_killed: bool,
    /// RFC 3339, UTC.
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub started_at: Option<String>,
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub mounts: Vec<String>,
    /// Names of the networks and the container's address there.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// Names of the environment variables.
    #[serde(default)]
    pub environment: Vec<String>,
}

impl Container {
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting | ContainerState::Paused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub address: String,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// The container that a prior look found.
pub(super) fn prior_container(prior: Option<&Outcome>) -> Option<&Container> {
    match prior {
        Some(Outcome::Container(ContainerOutcome::Inspect(container))) => container.as_ref(),
        _ => None,
    }
}
