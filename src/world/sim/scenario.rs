//! A scenario: the simulated world's beginning, as plain data. Written in code by tests, read from TOML by people.
//! Knows nothing of what will happen in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::approval::Person;
use super::behaviour::{Behaviour, Page};
use super::compose::Project;
use super::exec::Program;
use super::git::{Commit, Repo};
use super::images::{Recipe, SimImage};
use super::locks::Held;
use super::machine::Machine;
use super::networks::SimNetwork;
use super::notify::Outbox;
use super::objects::Objects;
use super::sqlite_rows::Database;
use super::traffic::SimRoute;
use super::volumes::SimVolume;
use crate::effect::container::ContainerSpec;
use crate::effect::git::{Change, ChangedFile};

/// A simulated host at its beginning.
///
/// The default is a little host that is fit for use: the images `web:v1` and `web:v2`, and `web:broken` (answers
/// 500), `web:dies` (ends with code 1 at its start), `web:never` (never ready); an empty volume `data`, a repository
/// and a build at `.`, 8 GB of memory, no container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Makes the ids.
    pub seed: u64,
    /// The clock at the beginning, milliseconds since 1970, UTC.
    pub start_unix_ms: i64,
    pub machine: Machine,
    pub images: Vec<SimImage>,
    /// Full name to image.
    pub registry: BTreeMap<String, SimImage>,
    pub registry_down: bool,
    /// What `docker_load` finds, by file.
    pub archives: BTreeMap<String, Vec<SimImage>>,
    /// What `docker_build` makes, by folder.
    pub builds: BTreeMap<String, Recipe>,
    pub containers: Vec<Placed>,
    pub volumes: BTreeMap<String, SimVolume>,
    pub networks: BTreeMap<String, SimNetwork>,
    /// By compose file.
    pub projects: BTreeMap<String, Project>,
    /// By folder.
    pub repos: BTreeMap<String, Repo>,
    /// Databases outside volumes, by path.
    pub databases: BTreeMap<String, Database>,
    /// Files and objects on storage.
    pub objects: Objects,
    /// What programs on the host leave, by their command line; others succeed without a word.
    pub programs: BTreeMap<String, Program>,
    pub outbox: Outbox,
    /// By service.
    pub locks: BTreeMap<String, Held>,
    /// Answers of other hosts, by URL.
    pub web: BTreeMap<String, Page>,
    /// Routes by service.
    pub routes: BTreeMap<String, SimRoute>,
    /// What a real host answered to reads, for what is not simulated: repositories, files, other hosts.
    pub answers: Vec<Heard>,
    /// Whether what the scenario does not name is there all the same: any folder builds, any image can be pulled.
    pub open: bool,
    /// Requests that each route gets.
    pub visitors_per_second: u64,
    /// Whoever answers questions; the first that is meant does.
    pub people: Vec<Person>,
}

/// A container that is there from the beginning; somebody else made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    pub spec: ContainerSpec,
    #[serde(default)]
    pub stopped: bool,
    /// The ids that it has where it was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
}

impl Placed {
    pub fn new(spec: ContainerSpec) -> Self {
        Self { spec, stopped: false, id: None, image_id: None }
    }
}

/// A read, and what a real world answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    pub kind: String,
    pub args: Value,
    pub outcome: Value,
}

/// A quiet site.
const VISITORS_PER_SECOND: u64 = 10;
/// 2026-01-01T00:00:00Z.
const START_UNIX_MS: i64 = 1_767_225_600_000;

impl Scenario {
    /// A host without anything.
    pub fn bare() -> Self {
        Self {
            seed: 1,
            start_unix_ms: START_UNIX_MS,
            machine: Machine::default(),
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
            objects: Objects::default(),
            programs: BTreeMap::new(),
            outbox: Outbox::default(),
            locks: BTreeMap::new(),
            web: BTreeMap::new(),
            routes: BTreeMap::new(),
            answers: Vec::new(),
            open: false,
            visitors_per_second: VISITORS_PER_SECOND,
            people: Vec::new(),
        }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        let web =
            |body: &str| Behaviour { page: Page { body: body.into(), ..Page::default() }, ..Behaviour::default() };
        let images = vec![
            SimImage::new("web:v1", web("v1")),
            SimImage::new("web:v2", web("v2")),
            SimImage::new("web:broken", Behaviour { page: Page::status(500), ..Behaviour::default() }),
            SimImage::new(
                "web:dies",
                Behaviour {
                    log: Vec::new(),
                    dies_after_ms: Some(20),
                    exit_code: 1,
                    last_words: vec!["fatal: no configuration".into()],
                    ..Behaviour::default()
                },
            ),
            SimImage::new("web:never", Behaviour { ready: false, log: Vec::new(), ..Behaviour::default() }),
        ];
        let commit = |digit: &str, message: &str, change, path: &str| Commit {
            id: digit.repeat(40),
            message: message.into(),
            time: START_UNIX_MS / 1000,
            files: vec![ChangedFile { path: path.into(), old_path: None, change }],
        };
        let repo = Repo {
            branch: Some("main".into()),
            commits: vec![
                commit("a", "first", Change::Added, "app.py"),
                commit("b", "second", Change::Modified, "app.py"),
            ],
            head: 1,
            ..Repo::default()
        };
        Self {
            images,
            builds: BTreeMap::from([(".".to_owned(), Recipe::default())]),
            volumes: BTreeMap::from([("data".to_owned(), SimVolume::default())]),
            repos: BTreeMap::from([(".".to_owned(), repo)]),
            ..Self::bare()
        }
    }
}
