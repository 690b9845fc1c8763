//! The way to an engine: opens the socket or the tunnel and agrees on a version. Performs no effect.

use std::net::IpAddr;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::address::{Address, ConnectSpec};
use super::error::{is_permission, root_cause};
use super::tunnel::Tunnel;
use crate::effect::{EffectError, ErrorKind};

/// The client's own limit: never the one that strikes, since every call has a deadline of its own.
const CLIENT_TIMEOUT_SECS: u64 = 24 * 60 * 60;

/// An open way to an engine.
pub(super) struct Connection {
    pub docker: Docker,
    /// The address that other programs on this machine can use.
    pub address: String,
    /// The machine whose ports the containers publish; none is this one.
    pub remote_host: Option<String>,
    /// The way there, where it is a child process.
    pub tunnel: Option<Tunnel>,
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
            let tunnel = Tunnel::open(&spec.ssh_program, &ssh, deadline).await?;
            let path = tunnel.socket().to_string_lossy().into_owned();
            let docker = unix(&path).map_err(|error| unreachable(spec, &error))?;
            (docker, format!("unix://{path}"), Some(tunnel.host.clone()), Some(tunnel))
        }
    };
    let docker = docker.with_request_modifier(|mut request| {
        // The engine reads these headers as base64 for URLs and takes a wrong one for none at all;
        // the client library writes plain base64.
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
    let left = deadline.saturating_sub(start.elapsed());
    match tokio::time::timeout(left, docker.negotiate_version()).await {
        Ok(Ok(docker)) => Ok(Connection { docker, address, remote_host, tunnel }),
        Ok(Err(error)) => Err(unreachable(spec, &error)),
        Err(_) => Err(silent(spec, &format!("no answer within {} s", deadline.as_secs()))),
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
        .hint("become a member of its group: sudo usermod -aG docker $USER, then log in again; or use `--engine local`")
        .not_applied();
    }
    match error {
        Error::SocketNotFoundError(_) => silent(spec, "there is no such socket"),
        other => silent(spec, &root_cause(other)),
    }
}

fn silent(spec: &ConnectSpec, why: &str) -> EffectError {
    EffectError::new(
        ErrorKind::Unavailable,
        format!("no docker engine answers at `{}` (chosen by {}): {why}", spec.address, spec.chosen_by),
    )
    .hint("start Docker: sudo systemctl start docker, or use `--engine local`")
    .not_applied()
}
