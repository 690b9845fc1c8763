//! What is written down of a local container: what it is (by deployer) and how it fares (by its supervisor).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::image_record::ImageConfig;
use super::process::ProcessMark;
use crate::base::duration_text::DurationText;
use crate::effect::container::{ContainerSpec, ContainerState, PublishedPort, RestartPolicy};

/// In a container's folder: what deployer writes.
pub const CONFIG: &str = "config.json";
/// What the supervisor writes.
pub const STATE: &str = "state.json";
/// Stands while nothing may start the container again by itself.
pub const STOP_REQUESTED: &str = "stop-requested";
/// The container's own copy of its image's files.
pub const ROOT: &str = "root";
pub const LOG: &str = "log";
/// Held by the supervisor as long as it runs.
pub const SUPERVISED: &str = "supervised";

/// `config.json`. Secrets are in it by name only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: String,
    pub spec: ContainerSpec,
    pub labels: BTreeMap<String, String>,
    pub image_id: String,
    /// The image's configuration when the container was made.
    pub image: ImageConfig,
    pub created_at: String,
    /// Host ports of the last start.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Container ports that nobody asked to publish, and the host ports that stand in for them; the key is
    /// [`ANY_PORT`] when the image exposes none.
    #[serde(default)]
    pub assigned: BTreeMap<u16, u16>,
}

/// Stands for whatever port the program listens on.
pub const ANY_PORT: u16 = 0;

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    pub supervisor: ProcessMark,
    pub child: Option<ProcessMark>,
    pub phase: Phase,
    pub exit_code: Option<i64>,
    pub started_at: String,
    pub finished_at: Option<String>,
    pub health: Option<String>,
    pub restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Running,
    /// Between two starts.
    Restarting,
    /// The supervisor has ended, or will at once.
    Exited,
}

/// What the supervisor is told on its standard input. The only place where secrets' values stand.
#[derive(Serialize, Deserialize)]
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub working_dir: PathBuf,
    pub restart: RestartPolicy,
    pub probe: Option<ProbePlan>,
}

/// The health check, made ready to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProbePlan {
    pub command: Vec<String>,
    pub interval: DurationText,
    pub timeout: DurationText,
    pub retries: u32,
    pub start_period: DurationText,
}

/// The supervisor's one line on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    Spawned,
    Failed(String),
}

/// How a container fares, as found out from its files and the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    pub state: ContainerState,
    pub exit_code: Option<i64>,
    pub health: Option<String>,
    pub started_at: Option<String>,
    /// A supervisor that died before it could clean up after itself.
    pub abandoned_by: Option<ProcessMark>,
    /// The process that was last seen, whether or not it still runs.
    pub child: Option<ProcessMark>,
}

impl Life {
    pub fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting)
    }
}
