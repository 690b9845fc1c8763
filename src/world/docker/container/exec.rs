//! Runs programs inside running containers.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::TryStreamExt;

use super::Containers;
use crate::effect::container::ExecInContainer;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::client::unless_cancelled;
use crate::world::docker::error::{Subject, await_reply, engine_error};
use crate::world::docker::names;
use crate::world::docker::output_tail::ByteTail;

/// How often to ask for the exit code after the output ended.
const EXIT_CODE_POLL: Duration = Duration::from_millis(10);
/// How long the program may run on after its output ended.
const EXIT_CODE_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait for the start of a program that is to be killed. Shorter than what the gateway adds to a request's
/// own timeout.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// How many bytes of output an error shows.
const DETAIL_BYTES: usize = 4 << 10;

impl Containers {
    pub(super) async fn exec(&self, call: &Call, request: &ExecInContainer) -> Result<ProgramResult, EffectError> {
        let name = names::validate("container", &request.container.key)?;
        let id = self.create_exec(call, name, request).await?;
        let limit = usize::try_from(request.output_limit.0).unwrap_or(usize::MAX);
        let program = async {
            match tokio::time::timeout(request.timeout.0, self.run_exec(name, &id, limit)).await {
                Ok(result) => result,
                Err(_) => Err(request.timed_out(name)),
            }
        };
        let result = match unless_cancelled(call, &request.label(name), program).await {
            Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
                return Err(if self.kill_exec(&id).await {
                    error
                } else {
                    error.hint(format!("it may still be running: docker top {name}"))
                });
            }
            result => result?,
        };
        if request.check && result.exit_code != 0 {
            let shown = if result.stderr.trim().is_empty() { &result.stdout } else { &result.stderr };
            let mut tail = ByteTail::new(DETAIL_BYTES);
            tail.push(shown.as_bytes());
            return Err(request.failed(name, result.exit_code).detail(tail.into_text()));
        }
        Ok(result)
    }

    async fn create_exec(&self, call: &Call, name: &str, request: &ExecInContainer) -> Result<String, EffectError> {
        request.validate()?;
        let command = request.command.iter().map(|part| call.vault.reveal(part)).collect::<Result<Vec<_>, _>>()?;
        let environment = request
            .environment
            .iter()
            .map(|(key, value)| Ok(format!("{key}={}", call.vault.reveal(value)?)))
            .collect::<Result<Vec<_>, EffectError>>()?;
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command),
            env: Some(environment),
            user: request.user.clone(),
            working_dir: request.working_dir.clone(),
            ..ExecConfig::default()
        };
        match await_reply(Subject::Container(name), self.client.docker.create_exec(name, config)).await {
            Ok(created) => Ok(created.id),
            Err(error) if error.kind == ErrorKind::Conflict => Err(request.not_running(name)),
            Err(error) => Err(error),
        }
    }

    async fn run_exec(&self, name: &str, id: &str, limit: usize) -> Result<ProgramResult, EffectError> {
        let (mut stdout, mut stderr) = (ByteTail::new(limit), ByteTail::new(limit));
        let started = await_reply(Subject::Container(name), self.client.docker.start_exec(id, None)).await?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(piece) =
                output.try_next().await.map_err(|error| engine_error(error, Subject::Container(name)))?
            {
                match piece {
                    LogOutput::StdOut { message } => stdout.push(&message),
                    // Output without a stream header is the engine's own error, such as a missing program.
                    other => stderr.push(other.as_ref()),
                }
            }
        }
        let exit_code = self.exec_exit_code(name, id).await?;
        let truncated = stdout.is_truncated() || stderr.is_truncated();
        Ok(ProgramResult { exit_code, stdout: stdout.into_text(), stderr: stderr.into_text(), truncated })
    }

    async fn exec_exit_code(&self, name: &str, id: &str) -> Result<i64, EffectError> {
        let end = self.client.clock.steady_ms() + EXIT_CODE_DEADLINE.as_millis() as u64;
        loop {
            let exec = await_reply(Subject::Container(name), self.client.docker.inspect_exec(id)).await?;
            if let (Some(false), Some(code)) = (exec.running, exec.exit_code) {
                return Ok(code);
            }
            if self.client.clock.steady_ms() >= end {
                return Err(EffectError::new(
                    ErrorKind::Unavailable,
                    format!("the program in container `{name}` closed its output but did not exit"),
                ));
            }
            self.client.clock.sleep(EXIT_CODE_POLL).await;
        }
    }

    /// Kills the program of an exec, and returns whether it ended. The Engine API cannot kill it, so this works only
    /// where the processes are on this machine and may be killed; elsewhere the program keeps running.
    async fn kill_exec(&self, id: &str) -> bool {
        let end = self.client.clock.steady_ms() + START_DEADLINE.as_millis() as u64;
        let exec = loop {
            let Ok(exec) = await_reply(Subject::Engine, self.client.docker.inspect_exec(id)).await else {
                return false;
            };
            match (exec.running, exec.exit_code) {
                (Some(true), _) if exec.pid.is_some_and(|pid| pid > 0) => break exec,
                (Some(false), Some(_)) => return true,
                // A busy engine may not have started it yet. It would then run unattended.
                _ if self.client.clock.steady_ms() >= end => return false,
                _ => self.client.clock.sleep(EXIT_CODE_POLL).await,
            }
        };
        let (Some(pid), Some(container)) = (exec.pid.and_then(|pid| i32::try_from(pid).ok()), exec.container_id) else {
            return false;
        };
        // The PID comes from the engine: kill only a process that is in that very container.
        let is_in_container =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&container));
        pid > 1
            && is_in_container
            && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok()
    }
}
