//! Programs inside running containers.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::TryStreamExt;

use super::error::{About, ask, explain};
use super::output::ByteTail;
use super::{DockerEngine, names, unless_cancelled};
use crate::effect::container::ExecInContainer;
use crate::effect::exec::{ProgramResult, command_line};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Between the end of the output and the engine knowing the exit code.
const CODE_POLL: Duration = Duration::from_millis(10);
/// Time for the program to end once its output has ended.
const CODE_DEADLINE: Duration = Duration::from_secs(10);
/// Time for a program to start that is to be killed: less than what the gateway adds to a request's own timeout.
const START_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of error output that an error shows.
const SHOWN: usize = 4 << 10;

impl DockerEngine {
    pub(super) async fn exec(&self, call: &Call, request: &ExecInContainer) -> Result<ProgramResult, EffectError> {
        let name = names::plain("container", &request.container.key)?;
        let what = command_line(&request.command);
        let id = self.create_exec(call, name, request).await?;
        let limit = usize::try_from(request.output_limit.0).unwrap_or(usize::MAX);
        let program = async {
            match tokio::time::timeout(request.timeout.0, self.run_exec(name, &id, limit)).await {
                Ok(result) => result,
                Err(_) => Err(EffectError::new(
                    ErrorKind::Timeout,
                    format!("`{what}` in container `{name}` did not end within {}", request.timeout),
                )),
            }
        };
        let result = match unless_cancelled(call, &format!("`{what}` in container `{name}`"), program).await {
            Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Cancelled) => {
                return Err(if self.kill_exec(&id).await {
                    error
                } else {
                    error.hint(format!("it may still run there: docker top {name}"))
                });
            }
            result => result?,
        };
        if request.check && result.exit_code != 0 {
            let shown = if result.stderr.trim().is_empty() { &result.stdout } else { &result.stderr };
            let mut tail = ByteTail::new(SHOWN);
            tail.push(shown.as_bytes());
            let message = format!("`{what}` in container `{name}` ended with code {}", result.exit_code);
            return Err(EffectError::new(ErrorKind::Failed, message).detail(tail.into_text()));
        }
        Ok(result)
    }

    async fn create_exec(&self, call: &Call, name: &str, request: &ExecInContainer) -> Result<String, EffectError> {
        if request.command.is_empty() {
            return Err(
                EffectError::new(ErrorKind::Invalid, "`command` is empty: it names the program to run").not_applied()
            );
        }
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
        match ask(About::Container(name), self.docker.create_exec(name, config)).await {
            Ok(created) => Ok(created.id),
            Err(error) if error.kind == ErrorKind::Conflict => Err(EffectError::new(
                ErrorKind::Conflict,
                format!("container `{name}` is not running, so no program can run in it"),
            )
            .hint(format!("see why: docker logs --tail 50 {name}"))
            .not_applied()),
            Err(error) => Err(error),
        }
    }

    async fn run_exec(&self, name: &str, id: &str, limit: usize) -> Result<ProgramResult, EffectError> {
        let (mut stdout, mut stderr) = (ByteTail::new(limit), ByteTail::new(limit));
        let started = ask(About::Container(name), self.docker.start_exec(id, None)).await?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(piece) = output.try_next().await.map_err(|error| explain(error, About::Container(name)))? {
                match piece {
                    LogOutput::StdOut { message } => stdout.push(&message),
                    // What comes without a header is the engine's own complaint, such as a program that is missing.
                    other => stderr.push(other.as_ref()),
                }
            }
        }
        let exit_code = self.exec_code(name, id).await?;
        let truncated = stdout.is_truncated() || stderr.is_truncated();
        Ok(ProgramResult { exit_code, stdout: stdout.into_text(), stderr: stderr.into_text(), truncated })
    }

    async fn exec_code(&self, name: &str, id: &str) -> Result<i64, EffectError> {
        let end = self.clock.steady_ms() + CODE_DEADLINE.as_millis() as u64;
        loop {
            let exec = ask(About::Container(name), self.docker.inspect_exec(id)).await?;
            if let (Some(false), Some(code)) = (exec.running, exec.exit_code) {
                return Ok(code);
            }
            if self.clock.steady_ms() >= end {
                return Err(EffectError::new(
                    ErrorKind::Unavailable,
                    format!("the program in container `{name}` closed its output but did not end"),
                ));
            }
            self.clock.sleep(CODE_POLL).await;
        }
    }

    /// Kills the program of an exec. The engine's interface cannot, so this works where its processes are this
    /// machine's own and may be killed; elsewhere the program goes on.
    async fn kill_exec(&self, id: &str) -> bool {
        let end = self.clock.steady_ms() + START_DEADLINE.as_millis() as u64;
        let exec = loop {
            let Ok(exec) = ask(About::Engine, self.docker.inspect_exec(id)).await else {
                return false;
            };
            match (exec.running, exec.exit_code) {
                (Some(true), _) if exec.pid.is_some_and(|pid| pid > 0) => break exec,
                (Some(false), Some(_)) => return true,
                // A busy engine may start it only now: then it would go on with nobody watching.
                _ if self.clock.steady_ms() >= end => return false,
                _ => self.clock.sleep(CODE_POLL).await,
            }
        };
        let (Some(pid), Some(container)) = (exec.pid.and_then(|pid| i32::try_from(pid).ok()), exec.container_id) else {
            return false;
        };
        // The number is the engine's: only a process that is in that very container may be hit.
        let is_there =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&container));
        pid > 1
            && is_there
            && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok()
    }
}
