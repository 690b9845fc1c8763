//! `docker_run` and `docker_start`: chooses ports, starts the supervisor and waits for its report.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::folder::{Guard, io_error, write_json};
use super::record::{CONFIG, ContainerRecord, Launch, Report, STOP_REQUESTED};
use super::{LocalEngine, blocking};
use crate::effect::container::{Container, ContainerSpec, RemoveContainer};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// How long the supervisor may take to start the program.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// The longest report that is read.
const LONGEST_REPORT: u64 = 16 << 10;

/// What is ready to start, and the guard under which it was made ready.
struct Prepared {
    record: ContainerRecord,
    launch: Launch,
    guard: Guard,
}

impl LocalEngine {
    pub(super) async fn run(self: &Arc<Self>, call: &Call, spec: &ContainerSpec) -> Result<Container, EffectError> {
        let created = self.create(call, spec).await?;
        let error = match self.start(call, &created.id).await {
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
        match self.remove(call, &remove).await {
            Ok(_) => Err(error.not_applied()),
            Err(_) => Err(EffectError { applied: crate::effect::Applied::Unknown, ..error }),
        }
    }

    pub(super) async fn start(self: &Arc<Self>, call: &Call, reference: &str) -> Result<Container, EffectError> {
        let (reference, vault) = (reference.to_owned(), call.vault.clone());
        let id = {
            let reference = reference.clone();
            blocking(self, move |engine| engine.need(&reference)).await?.id
        };
        let prepared = {
            let id = id.clone();
            blocking(self, move |engine| engine.prepare(&id, &vault)).await?
        };
        if let Some(Prepared { record, launch, guard }) = prepared {
            self.supervise(&record, &launch).await?;
            drop(guard);
        }
        blocking(self, move |engine| engine.container(engine.need(&id)?)).await
    }

    /// Makes a start ready; none if the container runs already.
    fn prepare(&self, id: &str, vault: &crate::base::vault::Vault) -> Result<Option<Prepared>, EffectError> {
        let guard = self.folder.guard()?;
        let mut record = self.need(id)?;
        let life = self.life(&record)?;
        if life.is_running() {
            return Ok(None);
        }
        // What a killed supervisor left behind would hold ports and files.
        if let Some(supervisor) = life.abandoned_by {
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

    async fn supervise(&self, record: &ContainerRecord, launch: &Launch) -> Result<(), EffectError> {
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
        let told = serde_json::to_vec(launch).map_err(|why| internal(why.to_string()))?;
        let exchange = async {
            if let Some(mut input) = supervisor.stdin.take() {
                // If it died, its report is missing too, and says so.
                let _ = input.write_all(&told).await;
            }
            let mut line = String::new();
            if let Some(output) = supervisor.stdout.take() {
                let _ = BufReader::new(output.take(LONGEST_REPORT)).read_line(&mut line).await;
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
            Ok(Report::Spawned) => Ok(()),
            Ok(Report::Failed(why)) => {
                Err(EffectError::new(ErrorKind::Failed, format!("container `{name}` cannot be started: {why}"))
                    .not_applied())
            }
            Err(_) => Err(internal(format!("it ended without a report (`{}`)", self.shim.program.display()))),
        }
    }
}
