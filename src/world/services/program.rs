//! A program on this machine, run within bounds: its time, its output, and everything that it started.
//! Knows no effect but the shape of a program's result.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::output_tail::{CHUNK, OutputTail};
use super::reason::reason;
use super::wait::cancelled;
use crate::base::duration_text::DurationText;
use crate::effect::exec::ProgramResult;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;

/// Between SIGTERM and SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// Between two looks at whether the group is gone.
const KILL_PAUSE: Duration = Duration::from_millis(20);
/// How long output is still read after the program ended, while something that it left behind keeps it open.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Characters of output that an error shows.
const EVIDENCE: usize = 2000;

/// What to run. Inherits deployer's own environment and folder.
#[derive(Debug)]
pub struct Program {
    /// For messages; has no secret in it.
    pub label: String,
    pub program: OsString,
    pub args: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    /// Inherited variables that it must not see.
    pub without: &'static [&'static str],
    pub working_dir: Option<PathBuf>,
    pub stdin: Option<String>,
    pub timeout: Duration,
    /// Bytes kept of each stream.
    pub output_limit: usize,
    /// Whether its latest line is told as progress.
    pub tells: bool,
}

impl Program {
    /// A program with one minute, 64 KiB of output and nothing on its standard input.
    pub fn new<A: Into<OsString>>(program: impl Into<OsString>, args: impl IntoIterator<Item = A>) -> Self {
        let program = program.into();
        Self {
            label: program.to_string_lossy().into_owned(),
            program,
            args: args.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            without: &[],
            working_dir: None,
            stdin: None,
            timeout: crate::effect::exec::DEFAULT_TIMEOUT.0,
            output_limit: usize::try_from(crate::effect::exec::DEFAULT_OUTPUT_LIMIT.0).unwrap_or(usize::MAX),
            tells: false,
        }
    }

    /// Runs it to its end, whatever its exit code. The whole process group is ended with SIGTERM and then SIGKILL
    /// when the time is over, the call is cancelled or the future is dropped; what a program leaves running
    /// after its own end is left alone.
    ///
    /// # Errors
    /// `missing_tool`, `not_found` (the folder), `refused` with nothing applied; `timeout` and `cancelled`.
    pub async fn run(self, call: &Call, clock: &dyn Clock) -> Result<ProgramResult, EffectError> {
        let mut child = self.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let out = OutputTail::new(self.output_limit);
        let err = OutputTail::new(self.output_limit);
        let mut group = Group::of(child);
        let told = self.tells.then_some(call);
        let exited = CancellationToken::new();
        let exit = async {
            let status = group.wait().await;
            exited.cancel();
            status
        };
        let streams = async {
            tokio::join!(drain(stdout, &out, told), drain(stderr, &err, told), feed(stdin, self.stdin.as_deref()));
        };
        let bounded_streams = async {
            tokio::select! {
                () = streams => {}
                () = async { exited.cancelled().await; clock.sleep(DRAIN_GRACE).await } => {}
            }
        };
        let ended = tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(cancelled()),
            (status, ()) = async { tokio::join!(exit, bounded_streams) } => Ok(status),
            () = clock.sleep(self.timeout) => {
                let timeout = DurationText(self.timeout);
                Err(EffectError::new(ErrorKind::Timeout, format!("`{}` did not end within {timeout}", self.label)))
            }
        };
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                group.end(clock).await;
                return Err(error.detail(call.vault.scrub(&evidence(&out.text(), &err.text()))));
            }
        };
        group.is_over = true;
        let status = status.map_err(|error| {
            EffectError::new(ErrorKind::Internal, format!("the end of `{}` was missed: {error}", self.label))
        })?;
        Ok(ProgramResult {
            exit_code: exit_code(status),
            stdout: out.text(),
            stderr: err.text(),
            truncated: out.is_cut() || err.is_cut(),
        })
    }

    fn spawn(&self) -> Result<Child, EffectError> {
        if let Some(folder) = self.working_dir.as_ref().filter(|folder| !folder.is_dir()) {
            let message = format!("`working_dir` `{}` is not a folder", folder.display());
            return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
        }
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for name in self.without {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.working_dir {
            command.current_dir(folder);
        }
        command.spawn().map_err(|error| self.not_started(&error).not_applied())
    }

    fn not_started(&self, error: &std::io::Error) -> EffectError {
        let program = self.program.to_string_lossy();
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                EffectError::new(ErrorKind::MissingTool, format!("there is no program `{program}`"))
                    .hint(format!("install `{program}` on the machine that runs deployer, or give its full path"))
            }
            std::io::ErrorKind::PermissionDenied => {
                EffectError::new(ErrorKind::Refused, format!("`{program}` may not be executed"))
                    .hint(format!("chmod +x {program}"))
            }
            std::io::ErrorKind::InvalidInput => {
                EffectError::new(ErrorKind::Invalid, format!("`{program}` has an argument with a NUL byte"))
            }
            _ => EffectError::new(ErrorKind::Failed, format!("`{program}` did not start: {}", reason(error))),
        }
    }
}

/// What an error shows of a program's output: the end of its error output, else of its output.
pub(super) fn evidence(stdout: &str, stderr: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout.trim_end() } else { stderr.trim_end() };
    let skipped = text.chars().count().saturating_sub(EVIDENCE);
    text.chars().skip(skipped).collect()
}

/// 128 + the signal's number when a signal ended it, as shells count.
fn exit_code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).map_or(-1, i64::from)
}

/// A program and everything that it started and that did not leave its process group.
struct Group {
    child: Option<Child>,
    id: Option<Pid>,
    /// Its leader ended by itself: nothing is to be killed.
    is_over: bool,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Self { child: Some(child), id, is_over: false }
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }
    }

    /// Ends it and waits until it is gone.
    async fn end(mut self, clock: &dyn Clock) {
        self.is_over = true;
        if let (Some(id), Some(child)) = (self.id, self.child.take()) {
            end_group(id, child, |pause| clock.sleep(pause)).await;
        }
    }
}

/// The leader is reaped here and nowhere else, so the group's number stays its own.
async fn end_group<F: Future<Output = ()>>(id: Pid, mut child: Child, sleep: impl Fn(Duration) -> F) {
    let _ = killpg(id, Signal::SIGTERM);
    let mut left = KILL_GRACE;
    while left > Duration::ZERO {
        let reaped = matches!(child.try_wait(), Ok(Some(_)));
        if reaped && killpg(id, None) == Err(Errno::ESRCH) {
            return;
        }
        sleep(KILL_PAUSE).await;
        left = left.saturating_sub(KILL_PAUSE);
    }
    let _ = killpg(id, Signal::SIGKILL);
    let _ = child.wait().await;
}

impl Drop for Group {
    fn drop(&mut self) {
        let (Some(id), Some(child), false) = (self.id, self.child.take(), self.is_over) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(end_group(id, child, tokio::time::sleep));
            }
            Err(_) => {
                let _ = killpg(id, Signal::SIGKILL);
            }
        }
    }
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, tail: &OutputTail, told: Option<&Call>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = vec![0; CHUNK];
    while let Ok(read) = stream.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        tail.push(&chunk[..read]);
        if let Some(call) = told
            && let Some(line) = last_line(&chunk[..read])
        {
            call.tell(call.vault.scrub(&line));
        }
    }
}

fn last_line(chunk: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(chunk);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(|line| super::reason::clip(line, 200))
}

async fn feed(stdin: Option<tokio::process::ChildStdin>, text: Option<&str>) {
    if let (Some(mut stdin), Some(text)) = (stdin, text) {
        // A program that does not read its input to the end is free to do so.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
}
