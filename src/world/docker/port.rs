//! Published ports: which container publishes a port, and at which address this process reaches a container.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::PortSummaryTypeEnum;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};

use super::client::EngineClient;
use super::error::{Subject, await_reply};
use super::names;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{Container, PublishedPort, container_has_several_ports};
use crate::effect::{EffectError, ErrorKind};

/// How long to look up the address of the engine's machine.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The network mode in which a container uses the machine's own ports.
const HOST_NETWORK: &str = "host";

/// The ports of an engine's containers.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    client: Arc<EngineClient>,
}

impl Ports {
    pub(super) fn new(client: Arc<EngineClient>) -> Self {
        Self { client }
    }

    /// Returns the running container that publishes this TCP port of the engine's machine.
    pub(super) async fn publisher(&self, port: u16) -> Result<Option<String>, EffectError> {
        let options = ListContainersOptionsBuilder::new().build();
        let running = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
        let publisher =
            running.into_iter().find(|container| {
                container.ports.iter().flatten().any(|published| {
                    published.public_port == Some(port) && published.typ == Some(PortSummaryTypeEnum::TCP)
                })
            });
        Ok(publisher.and_then(|container| Some(container.names?.first()?.trim_start_matches('/').to_owned())))
    }

    /// Returns the address at which this process reaches a port of the container.
    pub(super) async fn endpoint(&self, container: &Container, port: Option<u16>) -> Result<SocketAddr, EffectError> {
        let name = &container.name;
        let published: Vec<&PublishedPort> = container
            .ports
            .iter()
            .filter(|published| published.protocol == Protocol::Tcp)
            .filter(|published| port.is_none_or(|port| port == published.container_port))
            .collect();
        if port.is_none() && published.iter().any(|other| other.container_port != published[0].container_port) {
            let ports: BTreeSet<u16> = published.iter().map(|published| published.container_port).collect();
            return Err(container_has_several_ports(name, "publishes", ports));
        }
        if let Some(published) = published.first() {
            let address = self.published_address(name, &published.address).await?;
            return Ok(SocketAddr::new(address, published.host_port));
        }
        let port = match (port, self.exposed_ports(container).await?.as_slice()) {
            (Some(port), _) | (None, &[port]) => port,
            (None, []) => {
                return Err(EffectError::new(
                    ErrorKind::Invalid,
                    format!("container `{name}` publishes and exposes no port"),
                )
                .hint("publish one with the option `ports`, such as `ports: [\"8080:5000\"]`")
                .not_applied());
            }
            (None, ports) => return Err(container_has_several_ports(name, "exposes", ports.iter().copied())),
        };
        if container.networks.contains_key(HOST_NETWORK) {
            return Ok(SocketAddr::new(self.host_address().await?, port));
        }
        let container_address = container.networks.values().find_map(|address| address.parse::<IpAddr>().ok());
        match container_address {
            Some(address) if self.client.is_on_this_host() => Ok(SocketAddr::new(address, port)),
            _ => Err(EffectError::new(
                ErrorKind::Conflict,
                format!("port {port} of container `{name}` is not reachable from this machine"),
            )
            .hint(format!("publish it with the option `ports`, such as `ports: [\"{port}:{port}\"]`"))
            .not_applied()),
        }
    }

    /// Returns the address at which this process reaches what is published on `address` of the engine's machine.
    async fn published_address(&self, container: &str, address: &str) -> Result<IpAddr, EffectError> {
        let address = address.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
        match address {
            None => self.host_address().await,
            Some(address) if address.is_loopback() && self.client.remote_host.is_some() => Err(EffectError::new(
                ErrorKind::Unsupported,
                format!("container `{container}` publishes its port only on {address} of another machine"),
            )
            .hint(
                "publish it on an address that is reachable from this machine; in the shipped scripts, set \
                 `green_address` or `new_address`",
            )
            .not_applied()),
            Some(address) => Ok(address),
        }
    }

    /// Returns the address of the engine's machine, as seen from this process.
    async fn host_address(&self) -> Result<IpAddr, EffectError> {
        let Some(host) = &self.client.remote_host else {
            return Ok(Ipv4Addr::LOCALHOST.into());
        };
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), 0))).await;
        found.ok().and_then(Result::ok).and_then(|mut found| found.next()).map(|address| address.ip()).ok_or_else(
            || {
                EffectError::new(
                    ErrorKind::Unavailable,
                    format!("cannot resolve the address of the engine's host `{host}`"),
                )
                .hint(format!("check name resolution on this machine: getent hosts {host}"))
                .not_applied()
            },
        )
    }

    /// Returns the TCP ports that the container or its image exposes.
    async fn exposed_ports(&self, container: &Container) -> Result<Vec<u16>, EffectError> {
        let id = names::validate("container", &container.id)?;
        let reply = self.client.docker.inspect_container(id, None::<InspectContainerOptions>);
        let exposed = await_reply(Subject::Container(&container.name), reply)
            .await?
            .config
            .and_then(|config| config.exposed_ports);
        let port = |text: &String| text.trim_end_matches("/tcp").parse().ok();
        Ok(exposed.unwrap_or_default().iter().filter_map(port).collect())
    }
}
