//! What the shared services ask of the containers of this world.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bollard::models::PortSummaryTypeEnum;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::future::BoxFuture;

use super::error::{About, ask, found};
use super::{DockerEngine, NAME, names};
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{Container, ListContainers, PublishedPort, Stats};
use crate::effect::host::Memory;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::{Engine, RouteNote, VolumeFile};

const MIB: u64 = 1 << 20;
/// Time to find the address of the engine's machine.
const LOOKUP: Duration = Duration::from_secs(5);
/// The network on which a container has the machine's own ports.
const HOST_NETWORK: &str = "host";

impl Engine for DockerEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn look<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Option<Container>, EffectError>> {
        Box::pin(async move { found(self.container_of(container).await) })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>> {
        Box::pin(async move { self.list(&ListContainers { all: true, ..ListContainers::default() }).await })
    }

    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>> {
        Box::pin(self.read_stats(container))
    }

    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.write_log(container, to))
    }

    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>> {
        Box::pin(self.find_endpoint(container, port))
    }

    fn last_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move { self.log_lines(container, lines).await.unwrap_or_default() })
    }

    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>> {
        Box::pin(self.find_volume_file(volume, path))
    }

    fn port_holder(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>> {
        Box::pin(self.publisher(port))
    }

    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>> {
        Box::pin(async move {
            if self.is_here()
                && let Some(memory) = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(meminfo)
            {
                return Ok(memory);
            }
            let info = ask(About::Engine, self.docker.info()).await?;
            let total = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
            Ok(Memory { total_mb: total / MIB, available_mb: None })
        })
    }

    fn is_here(&self) -> bool {
        self.remote_host.is_none()
    }

    fn compose_environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![("DOCKER_HOST".into(), self.address.clone())])
    }

    fn keep_route<'a>(&'a self, call: &'a Call, note: &'a RouteNote) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.keep_route_note(call, note))
    }

    fn drop_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.drop_route_note(service))
    }

    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteNote>, EffectError>> {
        Box::pin(self.route_notes())
    }
}

impl DockerEngine {
    /// The running container that publishes this TCP port of the engine's machine.
    pub(super) async fn publisher(&self, port: u16) -> Result<Option<String>, EffectError> {
        let options = ListContainersOptionsBuilder::new().build();
        let running = ask(About::Engine, self.docker.list_containers(Some(options))).await?;
        let holder =
            running.into_iter().find(|container| {
                container.ports.iter().flatten().any(|published| {
                    published.public_port == Some(port) && published.typ == Some(PortSummaryTypeEnum::TCP)
                })
            });
        Ok(holder.and_then(|holder| Some(holder.names?.first()?.trim_start_matches('/').to_owned())))
    }

    async fn find_endpoint(&self, container: &Container, port: Option<u16>) -> Result<SocketAddr, EffectError> {
        let name = &container.name;
        let published: Vec<&PublishedPort> = container
            .ports
            .iter()
            .filter(|published| published.protocol == Protocol::Tcp)
            .filter(|published| port.is_none_or(|port| port == published.container_port))
            .collect();
        let several = |which: &str| {
            EffectError::new(ErrorKind::Invalid, format!("container `{name}` {which} several ports"))
                .hint("say which one is meant with the option `port`")
                .not_applied()
        };
        if port.is_none() && published.iter().any(|other| other.container_port != published[0].container_port) {
            return Err(several("publishes"));
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
            (None, _) => return Err(several("exposes")),
        };
        if container.networks.contains_key(HOST_NETWORK) {
            return Ok(SocketAddr::new(self.host_address().await?, port));
        }
        let own = container.networks.values().find_map(|address| address.parse::<IpAddr>().ok());
        match own {
            Some(address) if self.remote_host.is_none() => Ok(SocketAddr::new(address, port)),
            _ => Err(EffectError::new(
                ErrorKind::Conflict,
                format!("port {port} of container `{name}` cannot be reached from here"),
            )
            .hint(format!("publish it with the option `ports`, such as `ports: [\"{port}:{port}\"]`"))
            .not_applied()),
        }
    }

    /// Where this process can reach what is published on `address` of the engine's machine.
    async fn published_address(&self, container: &str, address: &str) -> Result<IpAddr, EffectError> {
        let address = address.parse::<IpAddr>().ok().filter(|address| !address.is_unspecified());
        match address {
            None => self.host_address().await,
            Some(address) if address.is_loopback() && self.remote_host.is_some() => Err(EffectError::new(
                ErrorKind::Unsupported,
                format!("container `{container}` publishes its port on {address} of another machine only"),
            )
            .hint(
                "publish it on an address that can be reached from here; the shipped scripts ask for it as \
                 `green_address` or `new_address`",
            )
            .not_applied()),
            Some(address) => Ok(address),
        }
    }

    /// The address of the engine's machine, as seen from this process.
    async fn host_address(&self) -> Result<IpAddr, EffectError> {
        let Some(host) = &self.remote_host else {
            return Ok(Ipv4Addr::LOCALHOST.into());
        };
        let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host.as_str(), 0))).await;
        found.ok().and_then(Result::ok).and_then(|mut found| found.next()).map(|address| address.ip()).ok_or_else(
            || {
                EffectError::new(
                    ErrorKind::Unavailable,
                    format!("the address of the engine's host `{host}` cannot be found"),
                )
                .hint(format!("see whether its name is known here: getent hosts {host}"))
                .not_applied()
            },
        )
    }

    /// TCP ports that the container's image or its maker says it listens on.
    async fn exposed_ports(&self, container: &Container) -> Result<Vec<u16>, EffectError> {
        let id = names::plain("container", &container.id)?;
        let answer = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let exposed =
            ask(About::Container(&container.name), answer).await?.config.and_then(|config| config.exposed_ports);
        let port = |text: &String| text.trim_end_matches("/tcp").parse().ok();
        Ok(exposed.unwrap_or_default().iter().filter_map(port).collect())
    }
}

/// The figures of `/proc/meminfo`, which counts in KiB.
fn meminfo(text: &str) -> Option<Memory> {
    let figure = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    Some(Memory { total_mb: figure("MemTotal")?, available_mb: figure("MemAvailable") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_figures() {
        let memory = meminfo("MemTotal:       2048000 kB\nMemFree: 1 kB\nMemAvailable:   1024000 kB\n").unwrap();
        assert_eq!(memory, Memory { total_mb: 2000, available_mb: Some(1000) });
        assert_eq!(meminfo("nothing"), None);
    }
}
