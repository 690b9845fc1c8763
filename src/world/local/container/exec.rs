//! `docker_exec`: runs a program with a container's environment and working folder.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::create::check_user;
use super::launch::find_program;
use super::record::ContainerRecord;
use crate::base::vault::Vault;
use crate::effect::container::ExecInContainer;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::local_engine::{LocalEngine, run_blocking};
use crate::world::local::process::{ProcessId, as_pid};
use crate::world::local::shim::child::code_of;

/// How long to keep reading after the program exited: a child of it may keep the pipe open.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);
const CHUNK: usize = 8 << 10;
/// Characters of output that an error shows.
const ERROR_OUTPUT_CHARS: usize = 4_000;

/// Kills the process group unless the program has exited.
struct GroupKiller(Option<u32>);

/// The last bytes of a stream.
struct Tail {
    limit: usize,
    kept: Mutex<(Vec<u8>, bool)>,
}

impl LocalEngine {
    pub(crate) async fn exec_in_container(
        self: &Arc<Self>,
        call: &Call,
        request: &ExecInContainer,
    ) -> Result<ProgramResult, EffectError> {
        check_user(request.user.as_deref())?;
        let reference = request.container.key.clone();
        let record = run_blocking(self, move |engine| engine.require_container(&reference)).await?;
        let status = self.current_status(&record).await?;
        let is_running = status.is_running();
        let Some(child) = status.child.filter(|child| is_running && child.is_alive()) else {
            return Err(request.not_running(&record.spec.name));
        };
        let mut command = self.exec_command(&record, &child, request, &call.vault)?;
        let mut program = command.spawn().map_err(|why| {
            EffectError::new(
                ErrorKind::Failed,
                format!("cannot run a program in container `{}`: {why}", record.spec.name),
            )
            .not_applied()
        })?;
        let mut killer = GroupKiller(program.id());
        let limit = usize::try_from(request.output_limit.0).unwrap_or(usize::MAX);
        let (stdout, stderr) = (Tail::new(limit), Tail::new(limit));
        let streams = (program.stdout.take(), program.stderr.take());
        let reading = async {
            tokio::join!(stdout.fill(streams.0), stderr.fill(streams.1));
        };
        tokio::pin!(reading);
        let ended = async {
            tokio::select! {
                status = program.wait() => {
                    let _ = tokio::time::timeout(DRAIN_TIMEOUT, &mut reading).await;
                    status
                }
                () = &mut reading => program.wait().await,
            }
        };
        let failed = |kind, what: String| EffectError::new(kind, what).detail(stderr.text_or(&stdout));
        let exit_status = tokio::select! {
            exit = ended => exit.map_err(|why| failed(ErrorKind::Failed, why.to_string()))?,
            () = tokio::time::sleep(request.timeout.0) => {
                return Err(request.timed_out(&record.spec.name).detail(stderr.text_or(&stdout)));
            }
            () = call.cancel.cancelled() => {
                return Err(request.cancelled(&record.spec.name).detail(stderr.text_or(&stdout)));
            }
        };
        killer.0 = None;
        let exit_code = code_of(exit_status);
        if request.check && exit_code != 0 {
            return Err(request.failed(&record.spec.name, exit_code).detail(stderr.text_or(&stdout)));
        }
        Ok(ProgramResult {
            exit_code,
            truncated: stdout.is_cut() || stderr.is_cut(),
            stdout: stdout.text(),
            stderr: stderr.text(),
        })
    }

    pub(crate) fn exec_command(
        &self,
        record: &ContainerRecord,
        child: &ProcessId,
        request: &ExecInContainer,
        vault: &Vault,
    ) -> Result<Command, EffectError> {
        let rewriter = self.path_rewriter(record);
        let running = environment_of(child);
        // The value the service itself got, which this run need not know.
        let mut environment = self.process_environment(record, &|key, value| {
            if value.secret_names().next().is_none() {
                return Ok(Some(vault.reveal(value)?));
            }
            Ok(running.get(key).cloned().or_else(|| vault.reveal(value).ok()))
        })?;
        for (key, value) in &request.environment {
            environment.insert(key.clone(), rewriter.text(&vault.reveal(value)?));
        }
        let folder = request.working_dir.clone().unwrap_or_else(|| record.working_dir());
        let working_dir = rewriter.folder(&folder);
        if !working_dir.is_dir() {
            return Err(EffectError::new(
                ErrorKind::NotFound,
                format!("container `{}` has no folder `{folder}`", record.spec.name),
            )
            .not_applied());
        }
        let words = request
            .command
            .iter()
            .map(|word| Ok(rewriter.text(&vault.reveal(word)?)))
            .collect::<Result<Vec<_>, EffectError>>()?;
        request.validate()?;
        let (name, args) = (&words[0], &words[1..]);
        let path = environment.get("PATH").map_or("", String::as_str);
        let mut command = Command::new(find_program(name, path, &working_dir)?);
        command
            .args(args)
            .env_clear()
            .envs(&environment)
            .current_dir(&working_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Ok(command)
    }
}

impl Drop for GroupKiller {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = killpg(as_pid(pid), Signal::SIGKILL);
        }
    }
}

fn environment_of(process: &ProcessId) -> BTreeMap<String, String> {
    let bytes = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

impl Tail {
    fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }

    async fn fill(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (bytes, is_cut) = &mut *kept;
            bytes.extend_from_slice(&chunk[..count]);
            if bytes.len() > self.limit {
                bytes.drain(..bytes.len() - self.limit);
                *is_cut = true;
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).0).into_owned()
    }

    /// Returns the end of this stream for an error, or of the other if this one is empty.
    fn text_or(&self, other: &Self) -> String {
        let text = Some(self.text()).filter(|text| !text.trim().is_empty()).unwrap_or_else(|| other.text());
        let skipped = text.chars().count().saturating_sub(ERROR_OUTPUT_CHARS);
        text.chars().skip(skipped).collect()
    }
}
