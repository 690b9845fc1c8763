//! A scenario: the initial state of a simulated host, as plain data. Tests write it in code, users write it in TOML.
//! Knows nothing of what happens on the host later.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::approver::SimApprover;
use super::behaviour::{Behaviour, SimResponse};
use super::compose::SimProject;
use super::database::SimDatabase;
use super::git::{SimCommit, SimRepo};
use super::image::{SimBuild, SimImage};
use super::lock::SimLock;
use super::machine::SimMachine;
use super::network::SimNetwork;
use super::outbox::Outbox;
use super::program::SimProgram;
use super::route::SimRoute;
use super::storage::SimStorage;
use super::volume::SimVolume;
use crate::effect::container::ContainerSpec;
use crate::effect::git::{Change, ChangedFile};

/// The initial state of a simulated host.
///
/// The default is a small host, ready to use: the images `web:v1` and `web:v2`, `web:broken` (answers 500), `web:dies`
/// (exits with code 1 at start) and `web:never` (never becomes ready); an empty volume `data`, a repository and a build
/// at `.`, 8 GB of memory, no container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The seed from which ids are generated.
    pub seed: u64,
    /// The initial time, in milliseconds since 1970, UTC.
    pub start_unix_ms: i64,
    /// Memory, disk, ports and environment of the machine.
    pub machine: SimMachine,
    /// Images on the host.
    pub images: Vec<SimImage>,
    /// Images in the registry, by full name.
    pub registry: BTreeMap<String, SimImage>,
    /// Whether the registry does not answer.
    pub registry_down: bool,
    /// Images that `docker_load` finds, by file.
    pub archives: BTreeMap<String, Vec<SimImage>>,
    /// Results of `docker_build`, by folder.
    pub builds: BTreeMap<String, SimBuild>,
    /// Containers on the host.
    pub containers: Vec<InitialContainer>,
    /// Volumes, by name.
    pub volumes: BTreeMap<String, SimVolume>,
    /// Networks, by name.
    pub networks: BTreeMap<String, SimNetwork>,
    /// Compose projects, by file.
    pub projects: BTreeMap<String, SimProject>,
    /// Git repositories, by folder.
    pub repos: BTreeMap<String, SimRepo>,
    /// Databases outside volumes, by path.
    pub databases: BTreeMap<String, SimDatabase>,
    /// Files and objects on storage.
    pub objects: SimStorage,
    /// Results of programs on the host, by command line. Other programs succeed without output.
    pub programs: BTreeMap<String, SimProgram>,
    /// Notifications.
    pub outbox: Outbox,
    /// Locks, by service.
    pub locks: BTreeMap<String, SimLock>,
    /// Responses of other hosts, by URL.
    #[serde(alias = "web")]
    pub remote_responses: BTreeMap<String, SimResponse>,
    /// Routes, by service.
    pub routes: BTreeMap<String, SimRoute>,
    /// Recorded answers of a real host, for what is not simulated: repositories, files, other hosts.
    #[serde(alias = "answers")]
    pub recorded_reads: Vec<RecordedRead>,
    /// Whether builds and images that the scenario does not list succeed too: any folder builds, any image can be
    /// pulled.
    #[serde(alias = "open")]
    pub permissive: bool,
    /// Requests per second to each route.
    #[serde(alias = "visitors_per_second")]
    pub requests_per_second: u64,
    /// Simulated approvers. The first one whose text matches a question answers it.
    #[serde(alias = "people")]
    pub approvers: Vec<SimApprover>,
}

/// A container that exists from the beginning and was not created by a run of deployer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialContainer {
    /// How the container is configured.
    pub spec: ContainerSpec,
    /// Whether it is stopped.
    #[serde(default)]
    pub stopped: bool,
    /// The id it has on the real host, in a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The id of its image on the real host, in a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

impl InitialContainer {
    /// Returns a running container with generated ids.
    pub fn new(spec: ContainerSpec) -> Self {
        Self { spec, stopped: false, id: None, image_id: None }
    }
}

/// A read effect and the answer of a real world to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRead {
    /// The kind of the effect, such as `git_head`.
    pub kind: String,
    /// Its arguments.
    pub args: Value,
    /// Its result.
    pub outcome: Value,
}

/// The load of a quiet site.
const REQUESTS_PER_SECOND: u64 = 10;
/// 2026-01-01T00:00:00Z.
const START_UNIX_MS: i64 = 1_767_225_600_000;

impl Scenario {
    /// Returns an empty host.
    pub fn bare() -> Self {
        Self {
            seed: 1,
            start_unix_ms: START_UNIX_MS,
            machine: SimMachine::default(),
            images: Vec::new(),
            registry: BTreeMap::new(),
            registry_down: false,
            archives: BTreeMap::new(),
            builds: BTreeMap::new(),
            containers: Vec::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            projects: BTreeMap::new(),
            repos: BTreeMap::new(),
            databases: BTreeMap::new(),
            objects: SimStorage::default(),
            programs: BTreeMap::new(),
            outbox: Outbox::default(),
            locks: BTreeMap::new(),
            remote_responses: BTreeMap::new(),
            routes: BTreeMap::new(),
            recorded_reads: Vec::new(),
            permissive: false,
            requests_per_second: REQUESTS_PER_SECOND,
            approvers: Vec::new(),
        }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        let app = |body: &str| Behaviour {
            response: SimResponse { body: body.into(), ..SimResponse::default() },
            ..Behaviour::default()
        };
        let images = vec![
            SimImage::new("web:v1", app("v1")),
            SimImage::new("web:v2", app("v2")),
            SimImage::new("web:broken", Behaviour { response: SimResponse::status(500), ..Behaviour::default() }),
            SimImage::new(
                "web:dies",
                Behaviour {
                    log: Vec::new(),
                    dies_after_ms: Some(20),
                    exit_code: 1,
                    exit_log: vec!["fatal: no configuration".into()],
                    ..Behaviour::default()
                },
            ),
            SimImage::new("web:never", Behaviour { ready: false, log: Vec::new(), ..Behaviour::default() }),
        ];
        let commit = |digit: &str, message: &str, change, path: &str| SimCommit {
            id: digit.repeat(40),
            message: message.into(),
            time: START_UNIX_MS / 1000,
            files: vec![ChangedFile { path: path.into(), old_path: None, change }],
        };
        let repo = SimRepo {
            branch: Some("main".into()),
            commits: vec![
                commit("a", "first", Change::Added, "app.py"),
                commit("b", "second", Change::Modified, "app.py"),
            ],
            head: 1,
            ..SimRepo::default()
        };
        Self {
            images,
            builds: BTreeMap::from([(".".to_owned(), SimBuild::default())]),
            volumes: BTreeMap::from([("data".to_owned(), SimVolume::default())]),
            repos: BTreeMap::from([(".".to_owned(), repo)]),
            ..Self::bare()
        }
    }
}
