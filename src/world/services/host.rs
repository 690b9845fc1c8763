//! The machine's figures, ports and environment.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::Services;
use super::wait::{lost_thread, unless_cancelled};
use crate::effect::host::{Disk, HostDisk, HostEffect, HostOutcome, PortFree, PortState};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

const MIB: u64 = 1 << 20;

impl Services {
    pub(super) async fn host(&self, call: &Call, effect: &HostEffect) -> Result<HostOutcome, EffectError> {
        unless_cancelled(call, async {
            match effect {
                HostEffect::Memory(_) => self.engine.memory().await.map(HostOutcome::Memory),
                HostEffect::Disk(request) => self.host_disk(request).await.map(HostOutcome::Disk),
                HostEffect::Port(request) => self.port_free(request).await.map(HostOutcome::Port),
                HostEffect::Env(request) => Ok(HostOutcome::Env((self.env)(&request.name))),
                HostEffect::Secret(request) => {
                    call.vault.expose(&request.name)?;
                    Ok(HostOutcome::Secret(()))
                }
            }
        })
        .await
    }

    async fn host_disk(&self, request: &HostDisk) -> Result<Disk, EffectError> {
        if !self.engine.is_here() {
            return Err(EffectError::unsupported("`host_disk` of another machine", self.engine.name()));
        }
        let path = request.path.clone();
        // A file system of the network can hang.
        tokio::task::spawn_blocking(move || room(&path)).await.unwrap_or_else(|error| Err(lost_thread(&error)))
    }

    async fn port_free(&self, request: &PortFree) -> Result<PortState, EffectError> {
        if request.port == 0 {
            return Err(EffectError::new(ErrorKind::Invalid, "port 0 is no port").not_applied());
        }
        let container = self.engine.port_holder(request.port).await?;
        let free = container.is_none() && (!self.engine.is_here() || nobody_listens(request.port));
        Ok(PortState { free, container })
    }
}

fn room(path: &str) -> Result<Disk, EffectError> {
    let whole = std::path::absolute(path)
        .map_err(|error| EffectError::new(ErrorKind::Invalid, format!("`{path}` is not a path: {error}")))?;
    let existing = whole.ancestors().find(|folder| folder.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let figures = statvfs(&existing).map_err(|error| {
        EffectError::new(ErrorKind::Failed, format!("the file system of `{path}` cannot be asked: {}", error.desc()))
    })?;
    let in_mib = |blocks: u64| blocks.saturating_mul(figures.fragment_size()) / MIB;
    Ok(Disk { total_mb: in_mib(figures.blocks()), available_mb: in_mib(figures.blocks_available()) })
}

/// Tries to listen there: on every IPv4 address, then on every IPv6 one.
fn nobody_listens(port: u16) -> bool {
    let taken = |address: SocketAddr| match TcpListener::bind(address) {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => true,
        // A low port that only root may listen on: see whether anybody answers.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => answers(port),
        // No IPv6 here.
        Err(_) => false,
    };
    !taken((Ipv4Addr::UNSPECIFIED, port).into()) && !taken((Ipv6Addr::UNSPECIFIED, port).into())
}

fn answers(port: u16) -> bool {
    std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
