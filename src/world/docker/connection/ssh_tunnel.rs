//! A socket on this machine that leads to an engine on another one, through the user's own `ssh`. Knows nothing of the
//! traffic.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use super::address::SshAddress;
use crate::effect::{EffectError, ErrorKind};
use crate::world::docker::error::one_line;
use crate::world::private_folder;

/// How often to try the socket while ssh logs in.
const POLL: Duration = Duration::from_millis(20);
/// How many bytes of ssh's error output to keep.
const STDERR_LIMIT: u64 = 4096;
/// How long to wait for ssh's error output after it failed.
const STDERR_TIMEOUT: Duration = Duration::from_secs(2);
/// How long ssh may take to print its configuration, which needs no connection.
const CONFIGURATION_TIMEOUT: Duration = Duration::from_secs(5);

/// A running `ssh -L`. Closes when dropped.
#[derive(Debug)]
pub(in crate::world::docker) struct SshTunnel {
    socket: PathBuf,
    /// The host name that ssh's configuration resolves the host to.
    pub(super) host: String,
    _folder: tempfile::TempDir,
    _ssh: Child,
    /// The operating system closes it when this process is killed. Then `cat` on the remote side ends, and ssh with it.
    _stdin: Option<ChildStdin>,
}

impl SshTunnel {
    pub(super) async fn open(program: &Path, address: &SshAddress, deadline: Duration) -> Result<Self, EffectError> {
        let setup_failed = |error: std::io::Error| {
            EffectError::new(ErrorKind::Unavailable, format!("cannot set up the ssh tunnel: {error}")).not_applied()
        };
        let folder = private_folder::create().map_err(setup_failed)?;
        let socket = folder.path().join("docker.sock");
        let mut command = Command::new(program);
        command
            .args(["-T", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"])
            .args(["-o", "ControlMaster=no", "-o", "ControlPath=none"])
            .args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"])
            .arg("-o")
            .arg(format!("ConnectTimeout={}", deadline.as_secs().max(1)))
            .arg("-L")
            .arg(format!("{}:{}", socket.display(), address.socket));
        for argument in destination(address) {
            command.arg(argument);
        }
        command
            .arg("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C must not close the tunnel: a rollback still needs the engine.
            .process_group(0);
        let mut ssh = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                EffectError::new(ErrorKind::MissingTool, "the program `ssh` is needed for an `ssh://` engine")
                    .hint("install it: apt-get install openssh-client")
                    .not_applied()
            }
            _ => setup_failed(error),
        })?;
        let stdin = ssh.stdin.take();
        let stderr_text = ssh.stderr.take().map(|mut stderr| {
            tokio::spawn(async move {
                let mut text = Vec::new();
                let _ = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text).await;
                // Drain the rest, so that the pipe does not fill up.
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let end = Instant::now() + deadline;
        loop {
            if UnixStream::connect(&socket).await.is_ok() {
                let host = configured_host(program, address).await.unwrap_or_else(|| address.host.clone());
                return Ok(Self { socket, host, _folder: folder, _ssh: ssh, _stdin: stdin });
            }
            let ended = ssh.try_wait().map_err(setup_failed)?.is_some();
            if ended || Instant::now() >= end {
                let _ = ssh.start_kill();
                let why = match stderr_text {
                    Some(text) => {
                        tokio::time::timeout(STDERR_TIMEOUT, text).await.ok().and_then(Result::ok).unwrap_or_default()
                    }
                    None => String::new(),
                };
                return Err(unreachable_host(address, &why, ended, deadline));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

/// Returns the arguments that name the machine. They follow all options.
fn destination(address: &SshAddress) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(port) = address.port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &address.user {
        arguments.extend(["-l".to_owned(), user.clone()]);
    }
    arguments.extend(["--".to_owned(), address.host.clone()]);
    arguments
}

/// Resolves an alias of ssh's configuration to the host name.
async fn configured_host(program: &Path, address: &SshAddress) -> Option<String> {
    let query = Command::new(program).arg("-G").args(destination(address)).kill_on_drop(true).output();
    let output = tokio::time::timeout(CONFIGURATION_TIMEOUT, query).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("hostname ")).map(ToOwned::to_owned)
}

fn unreachable_host(address: &SshAddress, why: &str, ended: bool, deadline: Duration) -> EffectError {
    let why = match one_line(why) {
        text if !text.is_empty() => text,
        _ if ended => "ssh exited without an error message".into(),
        _ => format!("no answer within {} s", deadline.as_secs()),
    };
    let ssh_target = destination(address).join(" ").replace("-- ", "");
    EffectError::new(ErrorKind::Unavailable, format!("ssh to `{}` failed: {why}", address.host))
        .hint(format!("this command must work without a password prompt: ssh {ssh_target} docker version"))
        .not_applied()
}
