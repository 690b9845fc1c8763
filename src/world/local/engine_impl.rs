//! The local engine as the shared services use it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::container::record::ANY_PORT;
use super::local_engine::{LocalEngine, NAME, run_blocking};
use super::state_folder::io_error;
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{Container, ListContainers, Stats, container_has_several_ports};
use crate::effect::host::Memory;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::{Engine, RouteRecord, VolumeFile};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl LocalEngine {
    fn endpoint_of(&self, container: &Container, port: Option<u16>) -> Result<SocketAddr, EffectError> {
        let record = self.require_container(&container.id)?;
        let reachable = |address: &str| match address.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() => address,
            _ => LOOPBACK,
        };
        let published: Vec<(u16, SocketAddr)> = record
            .ports
            .iter()
            .filter(|mapping| mapping.protocol == Protocol::Tcp)
            .map(|mapping| (mapping.container_port, SocketAddr::new(reachable(&mapping.address), mapping.host_port)))
            .collect();
        let assigned: Vec<(u16, SocketAddr)> =
            record.assigned.iter().map(|(port, host)| (*port, SocketAddr::new(LOOPBACK, *host))).collect();
        if let Some(port) = port {
            let found = published.iter().chain(&assigned).find(|(known, _)| *known == port || *known == ANY_PORT);
            // A program that ignores `PORT` listens on its usual port.
            return Ok(found.map_or(SocketAddr::new(LOOPBACK, port), |(_, address)| *address));
        }
        let ambiguous = |all: &[(u16, SocketAddr)]| {
            container_has_several_ports(&container.name, "publishes", all.iter().map(|(port, _)| *port))
        };
        match (&published[..], &assigned[..]) {
            ([(_, address)], _) | ([], [(_, address)]) => Ok(*address),
            ([], []) => Err(EffectError::new(
                ErrorKind::Invalid,
                format!("container `{}` has not been started yet and has no port", container.name),
            )
            .not_applied()),
            ([], several) | (several, _) => Err(ambiguous(several)),
        }
    }
}

fn memory() -> Result<Memory, EffectError> {
    let path = Path::new("/proc/meminfo");
    let text = fs::read_to_string(path).map_err(|why| io_error("read", path, &why).not_applied())?;
    let megabytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes >> 10)
    };
    let total_mb = megabytes("MemTotal")
        .ok_or_else(|| EffectError::new(ErrorKind::Failed, "`/proc/meminfo` has no `MemTotal`").not_applied())?;
    Ok(Memory { total_mb, available_mb: megabytes("MemAvailable") })
}

impl Engine for LocalEngine {
    fn name(&self) -> &'static str {
        NAME
    }

    fn find_container<'a>(
        &'a self,
        container: &'a ContainerRef,
    ) -> BoxFuture<'a, Result<Option<Container>, EffectError>> {
        let (engine, reference) = (Arc::new(self.clone()), container.key.clone());
        async move {
            run_blocking(&engine, move |engine| {
                engine.find_container(&reference)?.map(|record| engine.container_view(record)).transpose()
            })
            .await
        }
        .boxed()
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>> {
        let engine = Arc::new(self.clone());
        let all = ListContainers { all: true, ..ListContainers::default() };
        async move { run_blocking(&engine, move |engine| engine.list_containers(&all)).await }.boxed()
    }

    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>> {
        self.container_stats(&container.key).boxed()
    }

    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, key, to) = (Arc::new(self.clone()), container.key.clone(), to.to_owned());
        async move { run_blocking(&engine, move |engine| engine.write_log(&key, &to)).await }.boxed()
    }

    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>> {
        async move { self.endpoint_of(container, port) }.boxed()
    }

    fn last_log_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>> {
        async move {
            match self.find_container(&container.key) {
                Ok(Some(record)) => self.log_lines(&record.id, lines),
                _ => Vec::new(),
            }
        }
        .boxed()
    }

    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>> {
        async move { self.path_in_volume(volume, path).map(VolumeFile::in_place) }.boxed()
    }

    fn port_publisher(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>> {
        let engine = Arc::new(self.clone());
        async move { run_blocking(&engine, move |engine| Ok(engine.container_on_port(port))).await }.boxed()
    }

    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>> {
        async move { memory() }.boxed()
    }

    fn is_on_this_host(&self) -> bool {
        true
    }

    fn compose_environment(&self) -> Option<Vec<(String, String)>> {
        None
    }

    fn record_route<'a>(&'a self, _: &'a Call, note: &'a RouteRecord) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, note) = (Arc::new(self.clone()), note.clone());
        async move { run_blocking(&engine, move |engine| engine.write_route_record(&note)).await }.boxed()
    }

    fn remove_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, service) = (Arc::new(self.clone()), service.to_owned());
        async move { run_blocking(&engine, move |engine| engine.remove_route_record(&service)).await }.boxed()
    }

    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteRecord>, EffectError>> {
        let engine = Arc::new(self.clone());
        async move { run_blocking(&engine, |engine| engine.route_records()).await }.boxed()
    }
}
