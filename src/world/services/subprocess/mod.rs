//! A child process with limits on its time, its output and the processes that it starts.
//! Knows no effect but the shape of a program's result.

mod output_tail;
mod process_group;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::cancellation::cancelled;
use super::error_text::{root_cause, truncate};
use crate::base::duration_text::DurationText;
use crate::effect::exec::{ProgramResult, program_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use output_tail::{CHUNK, OutputTail};
use process_group::ProcessGroup;

/// How long output is still read after the program ended, while a process that it left running keeps it open.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Characters of output that an error shows.
const EXCERPT_LIMIT: usize = 2000;
/// Characters of a line that is shown as progress.
const PROGRESS_LIMIT: usize = 200;

/// A program to run. It inherits deployer's own environment and working folder.
#[derive(Debug)]
pub(crate) struct Subprocess {
    /// Names the program in messages. Contains no secret.
    pub label: String,
    pub program: OsString,
    pub args: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    /// Variables that it does not inherit.
    pub removed_environment: &'static [&'static str],
    pub working_dir: Option<PathBuf>,
    pub stdin: Option<String>,
    pub timeout: Duration,
    /// Bytes kept of each output stream.
    pub output_limit: usize,
    /// Whether its latest line of output is reported as progress.
    pub reports_progress: bool,
}

impl Subprocess {
    /// Describes a program with a timeout of one minute, 64 KiB of output and an empty standard input.
    pub(crate) fn new<A: Into<OsString>>(program: impl Into<OsString>, args: impl IntoIterator<Item = A>) -> Self {
        let program = program.into();
        Self {
            label: program.to_string_lossy().into_owned(),
            program,
            args: args.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            removed_environment: &[],
            working_dir: None,
            stdin: None,
            timeout: crate::effect::exec::DEFAULT_TIMEOUT.0,
            output_limit: usize::try_from(crate::effect::exec::DEFAULT_OUTPUT_LIMIT.0).unwrap_or(usize::MAX),
            reports_progress: false,
        }
    }

    /// Runs the program to its end and returns its exit code and output.
    ///
    /// The whole process group is ended with SIGTERM and then SIGKILL on a timeout, on cancellation and when the
    /// future is dropped. Processes that outlive a program which ended by itself are left running.
    ///
    /// # Errors
    /// `missing_tool`, `not_found` (the working folder) and `refused` mean that nothing was started. `timeout` and
    /// `cancelled` mean that the program was ended.
    pub(crate) async fn run(self, call: &Call, clock: &dyn Clock) -> Result<ProgramResult, EffectError> {
        let mut child = self.spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let out = OutputTail::new(self.output_limit);
        let err = OutputTail::new(self.output_limit);
        let mut group = ProcessGroup::new(child);
        let progress = self.reports_progress.then_some(call);
        let exited = CancellationToken::new();
        let exit = async {
            let status = group.wait().await;
            exited.cancel();
            status
        };
        let streams = async {
            tokio::join!(
                read_output(stdout, &out, progress),
                read_output(stderr, &err, progress),
                write_input(stdin, self.stdin.as_deref())
            );
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
                Err(EffectError::timed_out(&format!("`{}`", self.label), timeout))
            }
        };
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                group.kill(clock).await;
                return Err(error.detail(call.vault.scrub(&output_excerpt(&out.text(), &err.text()))));
            }
        };
        group.release();
        let status = status.map_err(|error| {
            let message = format!("cannot read the exit status of `{}`: {error}", self.label);
            EffectError::new(ErrorKind::Internal, message)
        })?;
        Ok(ProgramResult {
            exit_code: exit_code(status),
            stdout: out.text(),
            stderr: err.text(),
            truncated: out.is_truncated() || err.is_truncated(),
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
        for name in self.removed_environment {
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
            std::io::ErrorKind::NotFound => program_not_found(&program),
            std::io::ErrorKind::PermissionDenied => {
                EffectError::new(ErrorKind::Refused, format!("no permission to execute `{program}`"))
                    .hint(format!("chmod +x {program}"))
            }
            std::io::ErrorKind::InvalidInput => {
                EffectError::new(ErrorKind::Invalid, format!("an argument of `{program}` contains a NUL byte"))
            }
            _ => EffectError::new(ErrorKind::Failed, format!("`{program}` did not start: {}", root_cause(error))),
        }
    }
}

/// Returns what an error shows of a program's output: the end of standard error, or of standard output if that is empty.
pub(crate) fn output_excerpt(stdout: &str, stderr: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout.trim_end() } else { stderr.trim_end() };
    let skipped = text.chars().count().saturating_sub(EXCERPT_LIMIT);
    text.chars().skip(skipped).collect()
}

/// Returns the exit code, or 128 plus the signal's number as shells do.
fn exit_code(status: ExitStatus) -> i64 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).map_or(-1, i64::from)
}

/// Reads a stream to its end. With `progress`, reports its latest line.
async fn read_output(stream: Option<impl AsyncRead + Unpin>, tail: &OutputTail, progress: Option<&Call>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = vec![0; CHUNK];
    while let Ok(read) = stream.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        tail.push(&chunk[..read]);
        if let Some(call) = progress
            && let Some(line) = last_line(&chunk[..read])
        {
            call.report_progress(call.vault.scrub(&line));
        }
    }
}

fn last_line(chunk: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(chunk);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map(|line| truncate(line, PROGRESS_LIMIT))
}

async fn write_input(stdin: Option<tokio::process::ChildStdin>, text: Option<&str>) {
    if let (Some(mut stdin), Some(text)) = (stdin, text) {
        // A program may end without reading all of its input; that is no error.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
}
