//! Finds local containers and reads their status. Changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::record::{CONFIG, ContainerRecord, ContainerStatus, Phase, ProcessState, STATE};
use crate::effect::container::{Container, ContainerState, InspectContainer, ListContainers, container_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::local::local_engine::{LocalEngine, has_labels};
use crate::world::local::state_folder::{read_json, with_suggestion};

/// 128 + SIGKILL: the exit code of a child whose supervisor died.
const KILLED: i64 = 137;
/// How long a supervisor may take to record that its child exited.
const SETTLE_POLLS: u32 = 100;
const SETTLE_POLL: Duration = Duration::from_millis(5);
/// The shortest accepted prefix of an id.
const MIN_ID_PREFIX: usize = 12;

impl LocalEngine {
    pub(crate) fn container_file(&self, id: &str, name: &str) -> PathBuf {
        self.folder.container(id).join(name)
    }

    /// Returns all containers, in no particular order.
    pub(crate) fn container_records(&self) -> Result<Vec<ContainerRecord>, EffectError> {
        self.container_records_or_errors().into_iter().collect()
    }

    /// Returns all containers, damaged ones as errors.
    pub(crate) fn container_records_or_errors(&self) -> Vec<Result<ContainerRecord, EffectError>> {
        let ids = match self.folder.names(&self.folder.containers()) {
            Ok(ids) => ids,
            Err(error) => return vec![Err(error)],
        };
        // One that disappears during the read was removed.
        ids.iter().filter_map(|id| read_json(&self.container_file(id, CONFIG)).transpose()).collect()
    }

    /// Finds a container by name, id or prefix of an id.
    ///
    /// # Errors
    /// Returns an error if a state file is damaged and no undamaged container matches.
    pub(crate) fn find_container(&self, reference: &str) -> Result<Option<ContainerRecord>, EffectError> {
        let reference = reference.strip_prefix('/').unwrap_or(reference);
        let mut damaged = None;
        let mut by_id = Vec::new();
        for record in self.container_records_or_errors() {
            match record {
                Ok(record) if record.spec.name == reference || record.id == reference => return Ok(Some(record)),
                Ok(record) if reference.len() >= MIN_ID_PREFIX && record.id.starts_with(reference) => {
                    by_id.push(record)
                }
                Ok(_) => {}
                Err(error) => damaged = Some(error),
            }
        }
        if by_id.len() == 1 {
            return Ok(by_id.pop());
        }
        damaged.map_or(Ok(None), Err)
    }

    pub(crate) fn require_container(&self, reference: &str) -> Result<ContainerRecord, EffectError> {
        match self.find_container(reference)? {
            Some(record) => Ok(record),
            None => {
                let records = self.container_records()?;
                let known = records.iter().map(|record| record.spec.name.as_str());
                Err(with_suggestion(container_not_found(&reference), reference, known))
            }
        }
    }

    pub(crate) fn container_status(&self, record: &ContainerRecord) -> Result<ContainerStatus, EffectError> {
        for _ in 0..SETTLE_POLLS {
            if let Some(status) = self.try_container_status(record)? {
                return Ok(status);
            }
            std::thread::sleep(SETTLE_POLL);
        }
        Err(EffectError::new(
            ErrorKind::Unavailable,
            format!("the supervisor of container `{}` did not record that its process exited", record.spec.name),
        )
        .hint(format!("look at its folder: ls -l {}", self.folder.container(&record.id).display())))
    }

    /// Returns `None` while the child is dead and its supervisor has not yet recorded it.
    fn try_container_status(&self, record: &ContainerRecord) -> Result<Option<ContainerStatus>, EffectError> {
        let Some(state) = read_json::<ProcessState>(&self.container_file(&record.id, STATE))? else {
            return Ok(Some(ContainerStatus {
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
        Ok(Some(ContainerStatus {
            state: now,
            exit_code,
            health: state.health.filter(|_| running),
            started_at: Some(state.started_at),
            abandoned_by: is_abandoned.then_some(state.supervisor),
            child: state.child,
        }))
    }

    /// Returns the container as scripts see it.
    pub(crate) fn container_view(&self, record: ContainerRecord) -> Result<Container, EffectError> {
        let status = self.container_status(&record)?;
        let mut networks = BTreeMap::new();
        for name in self.networks_of(&record.id)? {
            networks.insert(name, String::from("127.0.0.1"));
        }
        let mut environment: Vec<String> =
            record.image.environment.keys().chain(record.spec.environment.keys()).cloned().collect();
        environment.sort_unstable();
        environment.dedup();
        // A stopped container has no published ports: report those that it will publish.
        let ports = if status.is_running() { record.ports } else { record.spec.configured_ports() };
        Ok(Container {
            id: record.id,
            name: record.spec.name,
            image: record.spec.image,
            image_id: record.image_id,
            state: status.state,
            exit_code: status.exit_code,
            health: status.health,
            oom_killed: false,
            created_at: Some(record.created_at),
            started_at: status.started_at,
            ports,
            labels: record.labels,
            mounts: record.spec.volumes.iter().map(ToString::to_string).collect(),
            networks,
            environment,
            restart: record.spec.restart,
        })
    }

    pub(crate) fn inspect_container(&self, request: &InspectContainer) -> Result<Option<Container>, EffectError> {
        let record = if request.missing_ok {
            self.find_container(&request.container.key)?
        } else {
            Some(self.require_container(&request.container.key)?)
        };
        record.map(|record| self.container_view(record)).transpose()
    }

    pub(crate) fn list_containers(&self, request: &ListContainers) -> Result<Vec<Container>, EffectError> {
        let image_id = match &request.image {
            Some(image) => self.find_image(image)?.map(|record| record.id),
            None => None,
        };
        let wanted = request.label_filter();
        let mut containers = Vec::new();
        for record in self.container_records()? {
            let fits = request.name.as_ref().is_none_or(|name| *name == record.spec.name)
                && has_labels(&record.labels, &wanted)
                && request
                    .image
                    .as_ref()
                    .is_none_or(|image| record.spec.image == *image || image_id.as_ref() == Some(&record.image_id));
            if fits {
                let container = self.container_view(record)?;
                if request.all || container.is_running() {
                    containers.push(container);
                }
            }
        }
        containers.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        Ok(containers)
    }
}
