//! Host ports: which are free, and which containers use the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

use super::container::record::{ANY_PORT, ContainerRecord};
use super::local_engine::LocalEngine;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{PublishedPort, port_taken, port_taken_by_container};
use crate::effect::{EffectError, ErrorKind};

/// Attempts to find a free port that no other container has.
const ATTEMPTS: u32 = 64;

/// The host ports for one start of a container.
pub(crate) struct HostPorts {
    pub(crate) published: Vec<PublishedPort>,
    pub(crate) assigned: BTreeMap<u16, u16>,
}

type Taken = BTreeMap<(u16, Protocol), String>;

impl LocalEngine {
    /// Assigns the host ports for a start. The caller holds the guard.
    ///
    /// # Errors
    /// Returns `port_taken`, naming the holder if it is known.
    pub(super) fn choose_ports(&self, record: &ContainerRecord) -> Result<HostPorts, EffectError> {
        let taken = self.taken_ports(&record.id);
        let mut given = BTreeSet::new();
        let mut published = Vec::new();
        for mapping in &record.spec.ports {
            let address = mapping.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let host_port = if mapping.host_port == 0 {
                free_port(address, mapping.protocol, &taken, &mut given)?
            } else {
                check_free(&record.spec.name, address, (mapping.host_port, mapping.protocol), &taken)?;
                mapping.host_port
            };
            given.insert(host_port);
            published.push(PublishedPort {
                address: address.to_string(),
                host_port,
                container_port: mapping.container_port,
                protocol: mapping.protocol,
            });
        }
        let is_published = |port: &u16| published.iter().any(|mapping| mapping.container_port == *port);
        let mut unpublished: Vec<u16> =
            record.image.exposed.iter().copied().filter(|port| !is_published(port)).collect();
        if unpublished.is_empty() && published.is_empty() {
            unpublished.push(ANY_PORT);
        }
        let mut assigned = BTreeMap::new();
        for port in unpublished {
            let free = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST), Protocol::Tcp, &taken, &mut given)?;
            assigned.insert(port, free);
        }
        Ok(HostPorts { published, assigned })
    }

    /// Returns the host ports of the other running containers. Damaged containers are skipped: binding detects their
    /// ports too.
    fn taken_ports(&self, except: &str) -> BTreeMap<(u16, Protocol), String> {
        let mut taken = BTreeMap::new();
        for record in self.container_records_or_errors().into_iter().flatten().filter(|record| record.id != except) {
            if self.container_status(&record).is_ok_and(|status| status.is_running()) {
                let name = record.spec.name;
                let assigned = record.assigned.values().map(|port| (*port, Protocol::Tcp));
                let published = record.ports.iter().map(|port| (port.host_port, port.protocol));
                taken.extend(published.chain(assigned).map(|port| (port, name.clone())));
            }
        }
        taken
    }

    /// Returns the running container to which this TCP port is assigned.
    pub(super) fn container_on_port(&self, port: u16) -> Option<String> {
        self.taken_ports("").remove(&(port, Protocol::Tcp))
    }
}

/// Binds without listening, so that no connection is accepted by mistake.
fn try_bind(address: SocketAddr, protocol: Protocol) -> io::Result<u16> {
    match protocol {
        Protocol::Udp => UdpSocket::bind(address)?.local_addr().map(|address| address.port()),
        Protocol::Tcp => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Closing connections do not keep a port from being used; listeners do.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.local_addr().map(|address| address.port())
        }
    }
}

fn check_free(
    name: &str,
    address: IpAddr,
    (port, protocol): (u16, Protocol),
    taken: &Taken,
) -> Result<(), EffectError> {
    let consequence = format!("container `{name}` cannot start");
    let error = |kind, message: String| EffectError::new(kind, message).not_applied();
    if let Some(holder) = taken.get(&(port, protocol)) {
        return Err(port_taken_by_container(port, holder, &consequence).not_applied());
    }
    match try_bind(SocketAddr::new(address, port), protocol) {
        Ok(_) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
            Err(port_taken(port, Some("another program on this machine"), &consequence).not_applied())
        }
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            Err(error(ErrorKind::Refused, format!("no permission to use port {port}: {why}"))
                .hint("publish a port of 1024 or more, or run deployer as root"))
        }
        Err(why) => Err(error(ErrorKind::Invalid, format!("cannot bind `{address}:{port}`: {why}"))),
    }
}

fn free_port(
    address: IpAddr,
    protocol: Protocol,
    taken: &Taken,
    given: &mut BTreeSet<u16>,
) -> Result<u16, EffectError> {
    for _ in 0..ATTEMPTS {
        let port = try_bind(SocketAddr::new(address, 0), protocol).map_err(|why| {
            EffectError::new(ErrorKind::Unavailable, format!("no free port on `{address}`: {why}")).not_applied()
        })?;
        if !taken.contains_key(&(port, protocol)) && given.insert(port) {
            return Ok(port);
        }
    }
    Err(EffectError::new(ErrorKind::Unavailable, format!("no free port on `{address}`")).not_applied())
}
