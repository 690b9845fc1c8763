//! Opens the connection to an engine: a socket, TCP or an ssh tunnel. Performs no effects.

mod address;
mod ssh_tunnel;

use std::net::IpAddr;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::error::{is_permission, root_cause};
use crate::effect::{EffectError, ErrorKind};
use address::Address;
pub use address::{ChosenBy, ConnectSpec, DEFAULT_ADDRESS};
pub(super) use ssh_tunnel::SshTunnel;

/// The timeout of the client library, long enough never to fire: every request has a deadline of its own.
const CLIENT_TIMEOUT_SECS: u64 = 24 * 60 * 60;

/// An open connection to an engine.
pub(super) struct Connection {
    pub docker: Docker,
    /// The address at which other programs on this machine reach the engine.
    pub address: String,
    /// The machine whose ports the containers publish. `None` when it is this one.
    pub remote_host: Option<String>,
    /// The ssh tunnel, for an engine on another machine.
    pub tunnel: Option<SshTunnel>,
}

pub(super) async fn open(spec: &ConnectSpec, deadline: Duration) -> Result<Connection, EffectError> {
    let start = tokio::time::Instant::now();
    let (docker, address, remote_host, tunnel) = match Address::parse(&spec.address)? {
        Address::Unix(path) => {
            let path = path.to_string_lossy().into_owned();
            (unix(&path).map_err(|error| unreachable(spec, &error))?, format!("unix://{path}"), None, None)
        }
        Address::Tcp { host, port } => {
            let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            let docker = Docker::connect_with_http(&authority, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
                .map_err(|error| unreachable(spec, &error))?;
            let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            (docker, format!("tcp://{authority}"), (!is_here).then_some(host), None)
        }
        Address::Ssh(ssh) => {
            let tunnel = SshTunnel::open(&spec.ssh_program, &ssh, deadline).await?;
            let path = tunnel.socket().to_string_lossy().into_owned();
            let docker = unix(&path).map_err(|error| unreachable(spec, &error))?;
            (docker, format!("unix://{path}"), Some(tunnel.host.clone()), Some(tunnel))
        }
    };
    let docker = docker.with_request_modifier(|mut request| {
        // The engine reads these headers as URL-safe base64 and silently ignores invalid values. The client library
        // writes standard base64.
        for name in ["x-registry-auth", "x-registry-config"] {
            if let Some(value) = request.headers_mut().get_mut(name)
                && let Some(safe) = value.to_str().ok().map(|text| text.replace('+', "-").replace('/', "_"))
                && let Ok(safe) = safe.parse()
            {
                *value = safe;
            }
        }
        request
    });
    let remaining = deadline.saturating_sub(start.elapsed());
    match tokio::time::timeout(remaining, docker.negotiate_version()).await {
        Ok(Ok(docker)) => Ok(Connection { docker, address, remote_host, tunnel }),
        Ok(Err(error)) => Err(unreachable(spec, &error)),
        Err(_) => Err(no_answer(spec, &format!("no answer within {} s", deadline.as_secs()))),
    }
}

fn unix(path: &str) -> Result<Docker, Error> {
    Docker::connect_with_unix(path, CLIENT_TIMEOUT_SECS, API_DEFAULT_VERSION)
}

fn unreachable(spec: &ConnectSpec, error: &Error) -> EffectError {
    if is_permission(error) {
        return EffectError::new(
            ErrorKind::Refused,
            format!("no permission to use the docker engine at `{}` (chosen by {})", spec.address, spec.chosen_by),
        )
        .hint("add yourself to the docker group: sudo usermod -aG docker $USER, then log in again; or use `--engine local`")
        .not_applied();
    }
    match error {
        Error::SocketNotFoundError(_) => no_answer(spec, "the socket does not exist"),
        other => no_answer(spec, &root_cause(other)),
    }
}

fn no_answer(spec: &ConnectSpec, why: &str) -> EffectError {
    EffectError::new(
        ErrorKind::Unavailable,
        format!("no docker engine answers at `{}` (chosen by {}): {why}", spec.address, spec.chosen_by),
    )
    .hint("start Docker: sudo systemctl start docker, or use `--engine local`")
    .not_applied()
}
