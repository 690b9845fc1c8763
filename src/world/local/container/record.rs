//! The files of a local container: its configuration (written by deployer) and its state (written by its supervisor).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::duration_text::DurationText;
use crate::effect::container::{ContainerSpec, ContainerState, PublishedPort, RestartPolicy};
use crate::world::local::image::record::ImageConfig;
use crate::world::local::process::ProcessId;

/// In the folder of a container: the configuration, written by deployer.
pub(crate) const CONFIG: &str = "config.json";
/// The state, written by the supervisor.
pub(crate) const STATE: &str = "state.json";
/// Exists while the supervisor must not restart the program.
pub(crate) const STOP_REQUESTED: &str = "stop-requested";
/// The container's copy of its image's files.
pub(crate) const ROOT: &str = "root";
pub(crate) const LOG: &str = "log";
/// Locked by the supervisor while it runs.
pub(crate) const SUPERVISED: &str = "supervised";

/// `config.json`. It contains secrets by name only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) id: String,
    pub(crate) spec: ContainerSpec,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) image_id: String,
    /// The image's configuration when the container was created.
    pub(crate) image: ImageConfig,
    pub(crate) created_at: String,
    /// Host ports of the last start.
    #[serde(default)]
    pub(crate) ports: Vec<PublishedPort>,
    /// Container ports that are not published, and the host ports assigned to them. The key is [`ANY_PORT`] when the
    /// image exposes none.
    #[serde(default)]
    pub(crate) assigned: BTreeMap<u16, u16>,
}

/// Stands for the port the program listens on, whichever it is.
pub(crate) const ANY_PORT: u16 = 0;

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessState {
    pub(crate) supervisor: ProcessId,
    pub(crate) child: Option<ProcessId>,
    pub(crate) phase: Phase,
    pub(crate) exit_code: Option<i64>,
    pub(crate) started_at: String,
    pub(crate) finished_at: Option<String>,
    pub(crate) health: Option<String>,
    pub(crate) restarts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Running,
    /// Between two starts.
    Restarting,
    /// The supervisor has exited or is about to.
    Exited,
}

/// What the supervisor reads from standard input. The only place that contains the values of secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) restart: RestartPolicy,
    pub(crate) probe: Option<ProbePlan>,
}

/// The health check, ready to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProbePlan {
    pub(crate) command: Vec<String>,
    pub(crate) interval: DurationText,
    pub(crate) timeout: DurationText,
    pub(crate) retries: u32,
    pub(crate) start_period: DurationText,
}

/// The one line the supervisor writes to standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SupervisorReport {
    Spawned,
    Failed(String),
}

/// The status of a container, derived from its files and processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerStatus {
    pub(crate) state: ContainerState,
    pub(crate) exit_code: Option<i64>,
    pub(crate) health: Option<String>,
    pub(crate) started_at: Option<String>,
    /// A supervisor that died before it could clean up.
    pub(crate) abandoned_by: Option<ProcessId>,
    /// The last known process, whether or not it is still running.
    pub(crate) child: Option<ProcessId>,
}

impl ContainerStatus {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ContainerState::Running | ContainerState::Restarting)
    }
}
