//! `docker_exec`: one more program with a container's environment and folder.

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
use super::process::{ProcessMark, as_pid};
use super::record::ContainerRecord;
use super::shim::code_of;
use super::stop::not_running;
use super::{LocalEngine, blocking};
use crate::base::vault::Vault;
use crate::effect::container::ExecInContainer;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// How long to read on after the program ended: a child of its own may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(300);
const CHUNK: usize = 8 << 10;
/// Characters of output that an error shows.
const SHOWN: usize = 4_000;

/// Kills the group unless the program has ended.
struct GroupKiller(Option<u32>);

impl Drop for GroupKiller {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = killpg(as_pid(pid), Signal::SIGKILL);
        }
    }
}

impl LocalEngine {
    pub(super) async fn exec(
        self: &Arc<Self>,
        call: &Call,
        request: &ExecInContainer,
    ) -> Result<ProgramResult, EffectError> {
        check_user(request.user.as_deref())?;
        let reference = request.container.key.clone();
        let record = blocking(self, move |engine| engine.need(&reference)).await?;
        let life = self.fresh(&record).await?;
        let is_running = life.is_running();
        let Some(child) = life.child.filter(|child| is_running && child.is_alive()) else {
            return Err(not_running(&record));
        };
        let mut command = self.command(&record, &child, request, &call.vault)?;
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
                    let _ = tokio::time::timeout(LAST_OUTPUT, &mut reading).await;
                    status
                }
                () = &mut reading => program.wait().await,
            }
        };
        let failed = |kind, what: String| EffectError::new(kind, what).detail(stderr.text_or(&stdout));
        let status = tokio::select! {
            status = ended => status.map_err(|why| failed(ErrorKind::Failed, why.to_string()))?,
            () = tokio::time::sleep(request.timeout.0) => {
                return Err(failed(ErrorKind::Timeout, format!("the program in container `{}` still ran after {} and was killed", record.spec.name, request.timeout)));
            }
            () = call.cancel.cancelled() => {
                return Err(failed(ErrorKind::Cancelled, format!("cancelled; the program in container `{}` was killed", record.spec.name)));
            }
        };
        killer.0 = None;
        let exit_code = code_of(status);
        if request.check && exit_code != 0 {
            let what = crate::effect::exec::command_line(&request.command);
            return Err(failed(
                ErrorKind::Failed,
                format!("`{what}` in container `{}` ended with code {exit_code}", record.spec.name),
            ));
        }
        Ok(ProgramResult {
            exit_code,
            truncated: stdout.is_cut() || stderr.is_cut(),
            stdout: stdout.text(),
            stderr: stderr.text(),
        })
    }

    fn command(
        &self,
        record: &ContainerRecord,
        child: &ProcessMark,
        request: &ExecInContainer,
        vault: &Vault,
    ) -> Result<Command, EffectError> {
        let rewriter = self.rewriter(record);
        let running = environment_of(child);
        // The value that the service itself got, which this run need not know.
        let mut environment = self.environment(record, &|key, value| {
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
        let Some((name, args)) = words.split_first() else {
            return Err(EffectError::new(ErrorKind::Invalid, "`command` is empty").not_applied());
        };
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

fn environment_of(process: &ProcessMark) -> BTreeMap<String, String> {
    let bytes = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .split('\0')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The last bytes of a stream.
struct Tail {
    limit: usize,
    kept: Mutex<(Vec<u8>, bool)>,
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

    /// The end of what an error shows: this stream, else the other.
    fn text_or(&self, other: &Self) -> String {
        let text = Some(self.text()).filter(|text| !text.trim().is_empty()).unwrap_or_else(|| other.text());
        let skipped = text.chars().count().saturating_sub(SHOWN);
        text.chars().skip(skipped).collect()
    }
}
