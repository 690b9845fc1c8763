//! Host ports: which are free, and who has the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

use super::LocalEngine;
use super::record::{ANY_PORT, ContainerRecord};
use crate::base::port_mapping::Protocol;
use crate::effect::container::PublishedPort;
use crate::effect::{EffectError, ErrorKind};

/// Attempts to find a free port that no other container was given.
const ATTEMPTS: u32 = 64;

/// The host ports of one start.
pub struct Ports {
    pub published: Vec<PublishedPort>,
    pub assigned: BTreeMap<u16, u16>,
}

/// Binds without listening, so that no visitor is accepted by mistake.
fn try_bind(address: SocketAddr, protocol: Protocol) -> io::Result<u16> {
    match protocol {
        Protocol::Udp => UdpSocket::bind(address)?.local_addr().map(|address| address.port()),
        Protocol::Tcp => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // Connections that are still closing do not keep a port from being listened on; listeners do.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.local_addr().map(|address| address.port())
        }
    }
}

impl LocalEngine {
    /// Finds the host ports for a start. The caller holds the guard.
    ///
    /// # Errors
    /// `port_taken`, naming the holder where it is known.
    pub(super) fn choose_ports(&self, record: &ContainerRecord) -> Result<Ports, EffectError> {
        let taken = self.taken_ports(&record.id);
        let mut given = BTreeSet::new();
        let mut published = Vec::new();
        for mapping in &record.spec.ports {
            let address = mapping.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let host_port = if mapping.host_port == 0 {
                free_port(address, mapping.protocol, &taken, &mut given)?
            } else {
                check_free(address, mapping.host_port, mapping.protocol, &taken)?;
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
        Ok(Ports { published, assigned })
    }

    /// Host ports of the other running containers and who has them. Damaged containers are passed over: the attempt
    /// to bind finds their ports too.
    fn taken_ports(&self, except: &str) -> BTreeMap<(u16, Protocol), String> {
        let mut taken = BTreeMap::new();
        for record in self.readable_records().into_iter().flatten().filter(|record| record.id != except) {
            if self.life(&record).is_ok_and(|life| life.is_running()) {
                let name = record.spec.name;
                let assigned = record.assigned.values().map(|port| (*port, Protocol::Tcp));
                let published = record.ports.iter().map(|port| (port.host_port, port.protocol));
                taken.extend(published.chain(assigned).map(|port| (port, name.clone())));
            }
        }
        taken
    }

    /// The running container that listens, or is to listen, on this TCP port.
    pub(super) fn holder_of_port(&self, port: u16) -> Option<String> {
        self.taken_ports("").remove(&(port, Protocol::Tcp))
    }
}

type Taken = BTreeMap<(u16, Protocol), String>;

fn check_free(address: IpAddr, port: u16, protocol: Protocol, taken: &Taken) -> Result<(), EffectError> {
    let error = |kind, message: String| EffectError::new(kind, message).not_applied();
    if let Some(holder) = taken.get(&(port, protocol)) {
        return Err(error(ErrorKind::PortTaken, format!("port {port} is taken by container `{holder}`"))
            .hint("stop that container, or publish another port"));
    }
    match try_bind(SocketAddr::new(address, port), protocol) {
        Ok(_) => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
            Err(error(ErrorKind::PortTaken, format!("port {port} is taken by another program on this machine"))
                .hint(format!("see which: ss -lptn 'sport = :{port}'")))
        }
        Err(why) if why.kind() == io::ErrorKind::PermissionDenied => {
            Err(error(ErrorKind::Refused, format!("port {port} may not be opened: {why}"))
                .hint("publish a port of 1024 or more, or run deployer as root"))
        }
        Err(why) => Err(error(ErrorKind::Invalid, format!("cannot listen on `{address}:{port}`: {why}"))),
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
