//! Memory, disk space, ports, environment variables and secrets of the machine.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

use super::cancellation::{run_blocking, unless_cancelled};
use super::environment::EnvLookup;
use crate::effect::host::{Disk, HostDisk, HostEffect, HostOutcome, PortFree, PortState};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::Engine;

const MIB: u64 = 1 << 20;

/// Performs the effects that read the host.
pub(crate) struct HostService {
    engine: Arc<dyn Engine>,
    env: EnvLookup,
}

impl HostService {
    pub(crate) fn new(engine: Arc<dyn Engine>, env: EnvLookup) -> Self {
        Self { engine, env }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &HostEffect) -> Result<HostOutcome, EffectError> {
        unless_cancelled(call, async {
            match effect {
                HostEffect::Memory(_) => self.engine.memory().await.map(HostOutcome::Memory),
                HostEffect::Disk(request) => self.disk(request).await.map(HostOutcome::Disk),
                HostEffect::Port(request) => self.port(request).await.map(HostOutcome::Port),
                HostEffect::Env(request) => Ok(HostOutcome::Env((self.env)(&request.name))),
                HostEffect::Secret(request) => {
                    call.vault.expose(&request.name)?;
                    Ok(HostOutcome::Secret(()))
                }
            }
        })
        .await
    }

    async fn disk(&self, request: &HostDisk) -> Result<Disk, EffectError> {
        if !self.engine.is_on_this_host() {
            return Err(EffectError::unsupported("`host_disk` of another machine", self.engine.name()));
        }
        let path = request.path.clone();
        // A network file system can hang.
        run_blocking(move || disk_space(&path)).await
    }

    async fn port(&self, request: &PortFree) -> Result<PortState, EffectError> {
        if request.port == 0 {
            return Err(EffectError::new(ErrorKind::Invalid, "0 is not a valid port").not_applied());
        }
        let container = self.engine.port_publisher(request.port).await?;
        let free = container.is_none() && (!self.engine.is_on_this_host() || is_free(request.port));
        Ok(PortState { free, container })
    }
}

/// Returns the space of the file system that holds `path`, or of its closest folder that exists.
fn disk_space(path: &str) -> Result<Disk, EffectError> {
    let absolute = std::path::absolute(path)
        .map_err(|error| EffectError::new(ErrorKind::Invalid, format!("`{path}` is not a valid path: {error}")))?;
    let existing =
        absolute.ancestors().find(|folder| folder.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let stats = statvfs(&existing).map_err(|error| {
        let message = format!("cannot read the disk space of `{path}`: {}", error.desc());
        EffectError::new(ErrorKind::Failed, message)
    })?;
    let in_mib = |blocks: u64| blocks.saturating_mul(stats.fragment_size()) / MIB;
    Ok(Disk { total_mb: in_mib(stats.blocks()), available_mb: in_mib(stats.blocks_available()) })
}

/// Tries to listen on the port: on all IPv4 addresses, then on all IPv6 addresses.
fn is_free(port: u16) -> bool {
    let taken = |address: SocketAddr| match TcpListener::bind(address) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => true,
        // Only root may listen on a low port: check whether anything answers there.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => accepts_connections(port),
        // This machine has no IPv6.
        Err(_) => false,
    };
    !taken((Ipv4Addr::UNSPECIFIED, port).into()) && !taken((Ipv6Addr::UNSPECIFIED, port).into())
}

fn accepts_connections(port: u16) -> bool {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
