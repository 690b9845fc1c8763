//! The engine as the shared services use it, with one struct per category of effects.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::NAME;
use super::client::EngineClient;
use super::container::Containers;
use super::error::{Subject, await_reply, none_if_missing};
use super::image::Images;
use super::lock::Locks;
use super::network::Networks;
use super::port::Ports;
use super::route_records::RouteRecords;
use super::volume::Volumes;
use super::volume_api::VolumeApi;
use super::volume_claim::VolumeClaims;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Container, DEFAULT_STOP_GRACE, ListContainers, Stats, StopContainer};
use crate::effect::host::Memory;
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::{Engine, RouteRecord, VolumeFile};

const MIB: u64 = 1 << 20;

/// A Docker Engine, with one field per category of effects.
pub struct DockerEngine {
    client: Arc<EngineClient>,
    pub(super) containers: Containers,
    pub(super) images: Images,
    pub(super) volumes: Volumes,
    pub(super) networks: Networks,
    pub(super) locks: Locks,
    ports: Ports,
    routes: RouteRecords,
}

impl DockerEngine {
    pub(super) fn new(client: Arc<EngineClient>) -> Self {
        let api = VolumeApi::new(Arc::clone(&client));
        let claims = VolumeClaims::new(Arc::clone(&client), api.clone());
        let images = Images::new(Arc::clone(&client));
        let volumes = Volumes::new(Arc::clone(&client), api.clone(), claims.clone());
        let ports = Ports::new(Arc::clone(&client));
        let containers = Containers::new(Arc::clone(&client), images.clone(), volumes.clone(), ports.clone());
        let networks = Networks::new(Arc::clone(&client), containers.clone(), claims.clone());
        let locks = Locks::new(Arc::clone(&client), volumes.clone(), api.clone(), claims.clone());
        let routes = RouteRecords::new(volumes.clone(), api, claims);
        Self { client, containers, images, volumes, networks, locks, ports, routes }
    }

    /// Returns the address at which other programs on this machine reach the engine.
    pub fn address(&self) -> &str {
        &self.client.address
    }

    /// Returns the id that the engine gave itself, which is the same at each of its addresses; empty when it tells none.
    pub async fn id(&self) -> String {
        let info = await_reply(Subject::Engine, self.client.docker.info()).await;
        info.ok().and_then(|info| info.id).unwrap_or_default()
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.client.clock) as Arc<dyn Clock>
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("address", &self.client.address).finish_non_exhaustive()
    }
}

impl Engine for DockerEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn find_container<'a>(
        &'a self,
        container: &'a ContainerRef,
    ) -> BoxFuture<'a, Result<Option<Container>, EffectError>> {
        Box::pin(async move { none_if_missing(self.containers.get(container).await) })
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>> {
        Box::pin(async move { self.containers.list(&ListContainers { all: true, ..ListContainers::default() }).await })
    }

    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>> {
        Box::pin(self.containers.stats(container))
    }

    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.containers.write_log(container, to))
    }

    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>> {
        Box::pin(self.ports.endpoint(container, port))
    }

    fn last_log_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move { self.containers.log_lines(container, lines).await.unwrap_or_default() })
    }

    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>> {
        Box::pin(self.volumes.file(volume, path))
    }

    fn port_publisher(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>> {
        Box::pin(self.ports.publisher(port))
    }

    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>> {
        Box::pin(async move {
            if self.client.is_on_this_host()
                && let Some(memory) = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(meminfo)
            {
                return Ok(memory);
            }
            let info = await_reply(Subject::Engine, self.client.docker.info()).await?;
            let total = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
            Ok(Memory { total_mb: total / MIB, available_mb: None })
        })
    }

    fn is_on_this_host(&self) -> bool {
        self.client.is_on_this_host()
    }

    fn compose_environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![("DOCKER_HOST".into(), self.client.address.clone())])
    }

    fn duplicate<'a>(
        &'a self,
        model: &'a ContainerRef,
        name: &'a str,
        labels: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Container, EffectError>> {
        Box::pin(self.containers.duplicate(model, name, labels))
    }

    fn set_running<'a>(&'a self, container: &'a Container, running: bool) -> BoxFuture<'a, Result<(), EffectError>> {
        let id = ContainerRef::new(container.id.clone());
        Box::pin(async move {
            if running {
                return self.containers.start(&id).await.map(drop);
            }
            let stop = StopContainer { container: id, grace: DEFAULT_STOP_GRACE, signal: None, missing_ok: false };
            self.containers.stop(&stop).await.map(drop)
        })
    }

    fn remove_container<'a>(&'a self, container: &'a Container) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.containers.remove_existing(container, true, false))
    }

    fn record_route<'a>(&'a self, call: &'a Call, route: &'a RouteRecord) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.routes.record(call, route))
    }

    fn remove_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(self.routes.remove(service))
    }

    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteRecord>, EffectError>> {
        Box::pin(self.routes.list())
    }
}

/// Parses `/proc/meminfo`, which counts in KiB.
fn meminfo(text: &str) -> Option<Memory> {
    let field = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    };
    Some(Memory { total_mb: field("MemTotal")?, available_mb: field("MemAvailable") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_meminfo() {
        let memory = meminfo("MemTotal:       2048000 kB\nMemFree: 1 kB\nMemAvailable:   1024000 kB\n").unwrap();
        assert_eq!(memory, Memory { total_mb: 2000, available_mb: Some(1000) });
        assert_eq!(meminfo("nothing"), None);
    }
}
