//! `docker_run` and `docker_start`: assigns ports, starts the supervisor and waits for its report.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::record::{CONFIG, ContainerRecord, Launch, STOP_REQUESTED, SupervisorReport};
use crate::effect::container::{Container, ContainerSpec, RemoveContainer, container_cannot_start};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::local_engine::{LocalEngine, run_blocking};
use crate::world::local::state_folder::{StateGuard, io_error, write_json};

/// How long the supervisor may take to start the program.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// The longest report that is read.
const MAX_REPORT: u64 = 16 << 10;

/// A prepared start, with the guard under which it was prepared.
struct Prepared {
    record: ContainerRecord,
    launch: Launch,
    guard: StateGuard,
}

impl LocalEngine {
    pub(crate) async fn run_container(
        self: &Arc<Self>,
        call: &Call,
        spec: &ContainerSpec,
    ) -> Result<Container, EffectError> {
        let created = self.create_container(call, spec).await?;
        let error = match self.start_container(call, &created.id).await {
            Ok(container) => return Ok(container),
            Err(error) => error,
        };
        let remove = RemoveContainer {
            container: created.id.as_str().into(),
            force: true,
            volumes: true,
            missing_ok: true,
            disposable: true,
            only_own: true,
        };
        match self.remove_container(call, &remove).await {
            Ok(_) => Err(error.not_applied()),
            Err(_) => Err(EffectError { applied: crate::effect::Applied::Unknown, ..error }),
        }
    }

    pub(crate) async fn start_container(
        self: &Arc<Self>,
        call: &Call,
        reference: &str,
    ) -> Result<Container, EffectError> {
        let (reference, vault) = (reference.to_owned(), call.vault.clone());
        let id = {
            let reference = reference.clone();
            run_blocking(self, move |engine| engine.require_container(&reference)).await?.id
        };
        let prepared = {
            let id = id.clone();
            run_blocking(self, move |engine| engine.prepare_start(&id, &vault)).await?
        };
        if let Some(Prepared { record, launch, guard }) = prepared {
            self.start_supervisor(&record, &launch).await?;
            drop(guard);
        }
        run_blocking(self, move |engine| engine.container_view(engine.require_container(&id)?)).await
    }

    /// Prepares a start. Returns `None` if the container is already running.
    fn prepare_start(&self, id: &str, vault: &crate::base::vault::Vault) -> Result<Option<Prepared>, EffectError> {
        let guard = self.folder.guard()?;
        let mut record = self.require_container(id)?;
        let status = self.container_status(&record)?;
        if status.is_running() {
            return Ok(None);
        }
        // Processes of a killed supervisor would keep ports and files in use.
        if let Some(supervisor) = status.abandoned_by {
            supervisor.kill_session();
        }
        let ports = self.choose_ports(&record)?;
        record.ports = ports.published;
        record.assigned = ports.assigned;
        let launch = self.launch(&record, vault)?;
        let marker = self.container_file(&record.id, STOP_REQUESTED);
        if marker.exists() {
            fs::remove_file(&marker).map_err(|why| io_error("remove", &marker, &why).not_applied())?;
        }
        write_json(&self.container_file(&record.id, CONFIG), &record).map_err(EffectError::not_applied)?;
        Ok(Some(Prepared { record, launch, guard }))
    }

    async fn start_supervisor(&self, record: &ContainerRecord, launch: &Launch) -> Result<(), EffectError> {
        let name = &record.spec.name;
        let internal = |why: String| {
            EffectError::new(ErrorKind::Internal, format!("the supervisor of container `{name}` failed: {why}"))
        };
        let folder = self.folder.container(&record.id);
        let mut supervisor = Command::new(&self.shim.program)
            .args(&self.shim.args)
            .arg(&folder)
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| internal(format!("`{}`: {why}", self.shim.program.display())).not_applied())?;
        let input_line = serde_json::to_vec(launch).map_err(|why| internal(why.to_string()))?;
        let exchange = async {
            if let Some(mut input) = supervisor.stdin.take() {
                // If it died, the report is missing too, which is handled below.
                let _ = input.write_all(&input_line).await;
            }
            let mut line = String::new();
            if let Some(output) = supervisor.stdout.take() {
                let _ = BufReader::new(output.take(MAX_REPORT)).read_line(&mut line).await;
            }
            line
        };
        let line = tokio::time::timeout(START_DEADLINE, exchange).await.map_err(|_| {
            EffectError::new(
                ErrorKind::Timeout,
                format!("the supervisor of container `{name}` did not start its program within {START_DEADLINE:?}"),
            )
        })?;
        match serde_json::from_str(&line) {
            Ok(SupervisorReport::Spawned) => Ok(()),
            Ok(SupervisorReport::Failed(why)) => Err(container_cannot_start(name, &why).not_applied()),
            Err(_) => Err(internal(format!("it exited without a report (`{}`)", self.shim.program.display()))),
        }
    }
}
