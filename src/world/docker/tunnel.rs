//! A socket on this machine that leads to an engine on another one, through the user's own `ssh`.
//! Knows nothing of what goes through it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use super::address::SshAddress;
use super::error::one_line;
use crate::effect::{EffectError, ErrorKind};

/// How often the socket is tried while ssh logs in.
const POLL: Duration = Duration::from_millis(20);
/// Bytes kept of what ssh says.
const SAID_LIMIT: u64 = 4096;
/// Time for ssh to say why it ended.
const SAYING: Duration = Duration::from_secs(2);
/// Time for ssh to print its configuration; it contacts nobody for that.
const CONFIGURATION: Duration = Duration::from_secs(5);

/// A running `ssh -L`; ends when dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    socket: PathBuf,
    /// The name that ssh's configuration gives for the host.
    pub(super) host: String,
    _folder: tempfile::TempDir,
    _ssh: Child,
    /// Closed by the system when this process is killed: then `cat` on the other side ends, and ssh with it.
    _lifeline: Option<ChildStdin>,
}

impl Tunnel {
    pub(super) async fn open(program: &Path, address: &SshAddress, deadline: Duration) -> Result<Self, EffectError> {
        let own = |error: std::io::Error| {
            EffectError::new(ErrorKind::Unavailable, format!("the ssh tunnel cannot be set up: {error}")).not_applied()
        };
        let folder = tempfile::Builder::new().prefix("deployer-ssh-").tempdir().map_err(own)?;
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
            // Ctrl-C must not cut the way to the engine: the run still has to be taken back through it.
            .process_group(0);
        let mut ssh = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                EffectError::new(ErrorKind::MissingTool, "the program `ssh` is needed for an `ssh://` engine")
                    .hint("install it: apt-get install openssh-client")
                    .not_applied()
            }
            _ => own(error),
        })?;
        let lifeline = ssh.stdin.take();
        let said = ssh.stderr.take().map(|mut stderr| {
            tokio::spawn(async move {
                let mut text = Vec::new();
                let _ = (&mut stderr).take(SAID_LIMIT).read_to_end(&mut text).await;
                // Whatever else is said must not fill the pipe.
                let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let end = Instant::now() + deadline;
        loop {
            if UnixStream::connect(&socket).await.is_ok() {
                let host = configured_host(program, address).await.unwrap_or_else(|| address.host.clone());
                return Ok(Self { socket, host, _folder: folder, _ssh: ssh, _lifeline: lifeline });
            }
            let ended = ssh.try_wait().map_err(own)?.is_some();
            if ended || Instant::now() >= end {
                let _ = ssh.start_kill();
                let why = match said {
                    Some(said) => {
                        tokio::time::timeout(SAYING, said).await.ok().and_then(Result::ok).unwrap_or_default()
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

/// The arguments that name the machine, behind all options.
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

/// The name behind an alias of ssh's configuration.
async fn configured_host(program: &Path, address: &SshAddress) -> Option<String> {
    let asked = Command::new(program).arg("-G").args(destination(address)).kill_on_drop(true).output();
    let output = tokio::time::timeout(CONFIGURATION, asked).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("hostname ")).map(ToOwned::to_owned)
}

fn unreachable_host(address: &SshAddress, why: &str, ended: bool, deadline: Duration) -> EffectError {
    let why = match one_line(why) {
        said if !said.is_empty() => said,
        _ if ended => "ssh ended without a word".into(),
        _ => format!("no answer within {} s", deadline.as_secs()),
    };
    let to = destination(address).join(" ").replace("-- ", "");
    EffectError::new(ErrorKind::Unavailable, format!("ssh to `{}` failed: {why}", address.host))
        .hint(format!("this must work without a password: ssh {to} docker version"))
        .not_applied()
}
