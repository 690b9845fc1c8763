//! Finding local containers and telling how they fare. Changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::LocalEngine;
use super::folder::{not_found, read_json};
use super::record::{CONFIG, ContainerRecord, LOG, Life, Phase, RunState, STATE};
use crate::effect::container::{Container, ContainerState, InspectContainer, ListContainers, Logs, ReadLogs};
use crate::effect::{EffectError, ErrorKind};

/// 128 + SIGKILL: what a child is ended with when its supervisor dies.
const KILLED: i64 = 137;
/// How long a supervisor may take to write down that its child ended.
const SETTLE_POLLS: u32 = 100;
const SETTLE_POLL: Duration = Duration::from_millis(5);
/// The shortest beginning of an id that stands for it.
const SHORTEST_ID: usize = 12;
/// Most lines that are read back of a log.
const MOST_LINES: u64 = 10_000;

impl LocalEngine {
    pub(super) fn container_file(&self, id: &str, name: &str) -> PathBuf {
        self.folder.container(id).join(name)
    }

    /// All containers, in no order.
    pub(super) fn records(&self) -> Result<Vec<ContainerRecord>, EffectError> {
        self.readable_records().into_iter().collect()
    }

    /// All containers, damaged ones as errors.
    pub(super) fn readable_records(&self) -> Vec<Result<ContainerRecord, EffectError>> {
        let ids = match self.folder.names(&self.folder.containers()) {
            Ok(ids) => ids,
            Err(error) => return vec![Err(error)],
        };
        // One that vanishes meanwhile was removed.
        ids.iter().filter_map(|id| read_json(&self.container_file(id, CONFIG)).transpose()).collect()
    }

    /// The container of this name, id or beginning of an id.
    ///
    /// # Errors
    /// When a state file is damaged and no undamaged container fits.
    pub(super) fn find(&self, reference: &str) -> Result<Option<ContainerRecord>, EffectError> {
        let reference = reference.strip_prefix('/').unwrap_or(reference);
        let mut damaged = None;
        let mut by_id = Vec::new();
        for record in self.readable_records() {
            match record {
                Ok(record) if record.spec.name == reference || record.id == reference => return Ok(Some(record)),
                Ok(record) if reference.len() >= SHORTEST_ID && record.id.starts_with(reference) => by_id.push(record),
                Ok(_) => {}
                Err(error) => damaged = Some(error),
            }
        }
        if by_id.len() == 1 {
            return Ok(by_id.pop());
        }
        damaged.map_or(Ok(None), Err)
    }

    pub(super) fn need(&self, reference: &str) -> Result<ContainerRecord, EffectError> {
        match self.find(reference)? {
            Some(record) => Ok(record),
            None => {
                let records = self.records()?;
                let known = records.iter().map(|record| record.spec.name.as_str());
                Err(not_found("container", reference, known, "see which there are: `docker_list(#{ all: true })`"))
            }
        }
    }

    pub(super) fn life(&self, record: &ContainerRecord) -> Result<Life, EffectError> {
        for _ in 0..SETTLE_POLLS {
            if let Some(life) = self.life_now(record)? {
                return Ok(life);
            }
            std::thread::sleep(SETTLE_POLL);
        }
        Err(EffectError::new(
            ErrorKind::Unavailable,
            format!("the supervisor of container `{}` does not write down that its process ended", record.spec.name),
        )
        .hint(format!("see its folder: ls -l {}", self.folder.container(&record.id).display())))
    }

    /// None while the child is dead and its supervisor has not yet said so.
    fn life_now(&self, record: &ContainerRecord) -> Result<Option<Life>, EffectError> {
        let Some(state) = read_json::<RunState>(&self.container_file(&record.id, STATE))? else {
            return Ok(Some(Life {
                state: ContainerState::Created,
                exit_code: None,
                health: None,
                started_at: None,
                abandoned_by: None,
                child: None,
            }));
        };
        let is_abandoned = state.phase != Phase::Exited && !state.supervisor.is_alive();
        let (now, exit_code) = match state.phase {
            Phase::Exited => (ContainerState::Exited, state.exit_code),
            _ if is_abandoned => (ContainerState::Exited, Some(KILLED)),
            Phase::Restarting => (ContainerState::Restarting, state.exit_code),
            Phase::Running if state.child.as_ref().is_none_or(|child| child.is_alive()) => {
                (ContainerState::Running, None)
            }
            Phase::Running => return Ok(None),
        };
        let running = now == ContainerState::Running;
        Ok(Some(Life {
            state: now,
            exit_code,
            health: state.health.filter(|_| running),
            started_at: Some(state.started_at),
            abandoned_by: is_abandoned.then_some(state.supervisor),
            child: state.child,
        }))
    }

    /// The container as scripts see it.
    pub(super) fn container(&self, record: ContainerRecord) -> Result<Container, EffectError> {
        let life = self.life(&record)?;
        let mut networks = BTreeMap::new();
        for name in self.networks_of(&record.id)? {
            networks.insert(name, String::from("127.0.0.1"));
        }
        let mut environment: Vec<String> =
            record.image.environment.keys().chain(record.spec.environment.keys()).cloned().collect();
        environment.sort_unstable();
        environment.dedup();
        let ports = if life.is_running() { record.ports } else { Vec::new() };
        Ok(Container {
            id: record.id,
            name: record.spec.name,
            image: record.spec.image,
            image_id: record.image_id,
            state: life.state,
            exit_code: life.exit_code,
            health: life.health,
            oom_killed: false,
            created_at: Some(record.created_at),
            started_at: life.started_at,
            ports,
            labels: record.labels,
            mounts: record.spec.volumes.iter().map(ToString::to_string).collect(),
            networks,
            environment,
        })
    }

    pub(super) fn inspect(&self, request: &InspectContainer) -> Result<Option<Container>, EffectError> {
        let record = if request.missing_ok {
            self.find(&request.container.key)?
        } else {
            Some(self.need(&request.container.key)?)
        };
        record.map(|record| self.container(record)).transpose()
    }

    pub(super) fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EffectError> {
        let image_id = match &request.image {
            Some(image) => self.image_find(image)?.map(|record| record.id),
            None => None,
        };
        let wanted = request.wanted_labels();
        let mut containers = Vec::new();
        for record in self.records()? {
            let fits = request.name.as_ref().is_none_or(|name| *name == record.spec.name)
                && super::has_labels(&record.labels, &wanted)
                && request
                    .image
                    .as_ref()
                    .is_none_or(|image| record.spec.image == *image || image_id.as_ref() == Some(&record.image_id));
            if fits {
                let container = self.container(record)?;
                if request.all || container.is_running() {
                    containers.push(container);
                }
            }
        }
        containers.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(containers)
    }

    pub(super) fn logs(&self, request: &ReadLogs) -> Result<Logs, EffectError> {
        let record = self.need(&request.container.key)?;
        Ok(Logs { lines: self.log_lines(&record.id, request.tail) })
    }

    /// The last lines of a container's log, oldest first.
    pub(super) fn log_lines(&self, id: &str, lines: u64) -> Vec<String> {
        let wanted = usize::try_from(lines.min(MOST_LINES)).unwrap_or(usize::MAX);
        super::log_file::last_lines(&self.container_file(id, LOG), wanted)
    }
}
