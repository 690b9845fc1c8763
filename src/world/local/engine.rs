//! The local world as the services see it that all real worlds share.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::folder::io_error;
use super::record::ANY_PORT;
use super::{LocalEngine, NAME, blocking};
use crate::base::container_ref::ContainerRef;
use crate::base::port_mapping::Protocol;
use crate::effect::container::{Container, ListContainers, Stats};
use crate::effect::host::Memory;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::engine::{Engine, RouteNote, VolumeFile};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl LocalEngine {
    fn endpoint_of(&self, container: &Container, port: Option<u16>) -> Result<SocketAddr, EffectError> {
        let record = self.need(&container.id)?;
        let reachable = |address: &str| match address.parse::<IpAddr>() {
            Ok(address) if !address.is_unspecified() => address,
            _ => HERE,
        };
        let published: Vec<(u16, SocketAddr)> = record
            .ports
            .iter()
            .filter(|mapping| mapping.protocol == Protocol::Tcp)
            .map(|mapping| (mapping.container_port, SocketAddr::new(reachable(&mapping.address), mapping.host_port)))
            .collect();
        let assigned: Vec<(u16, SocketAddr)> =
            record.assigned.iter().map(|(port, host)| (*port, SocketAddr::new(HERE, *host))).collect();
        if let Some(port) = port {
            let found = published.iter().chain(&assigned).find(|(known, _)| *known == port || *known == ANY_PORT);
            // A program that does not ask for `PORT` listens where it always does.
            return Ok(found.map_or(SocketAddr::new(HERE, port), |(_, address)| *address));
        }
        let ambiguous = |all: &[(u16, SocketAddr)]| {
            let ports: Vec<String> = all.iter().map(|(port, _)| port.to_string()).collect();
            EffectError::new(
                ErrorKind::Invalid,
                format!("container `{}` has several ports: {}", container.name, ports.join(", ")),
            )
            .hint("say which: `port`")
            .not_applied()
        };
        match (&published[..], &assigned[..]) {
            ([(_, address)], _) | ([], [(_, address)]) => Ok(*address),
            ([], []) => Err(EffectError::new(
                ErrorKind::Invalid,
                format!("container `{}` was not started yet and has no port", container.name),
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

    fn look<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Option<Container>, EffectError>> {
        let (engine, reference) = (Arc::new(self.clone()), container.key.clone());
        async move {
            blocking(&engine, move |engine| engine.find(&reference)?.map(|record| engine.container(record)).transpose())
                .await
        }
        .boxed()
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>> {
        let engine = Arc::new(self.clone());
        let all = ListContainers { all: true, ..ListContainers::default() };
        async move { blocking(&engine, move |engine| engine.list(&all)).await }.boxed()
    }

    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>> {
        self.stats_of(&container.key).boxed()
    }

    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, key, to) = (Arc::new(self.clone()), container.key.clone(), to.to_owned());
        async move { blocking(&engine, move |engine| engine.write_log(&key, &to)).await }.boxed()
    }

    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>> {
        async move { self.endpoint_of(container, port) }.boxed()
    }

    fn last_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>> {
        async move {
            match self.find(&container.key) {
                Ok(Some(record)) => self.log_lines(&record.id, lines),
                _ => Vec::new(),
            }
        }
        .boxed()
    }

    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>> {
        async move { self.file_of_volume(volume, path).map(VolumeFile::in_place) }.boxed()
    }

    fn port_holder(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>> {
        let engine = Arc::new(self.clone());
        async move { blocking(&engine, move |engine| Ok(engine.holder_of_port(port))).await }.boxed()
    }

    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>> {
        async move { memory() }.boxed()
    }

    fn is_here(&self) -> bool {
        true
    }

    fn compose_environment(&self) -> Option<Vec<(String, String)>> {
        None
    }

    fn keep_route<'a>(&'a self, _: &'a Call, note: &'a RouteNote) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, note) = (Arc::new(self.clone()), note.clone());
        async move { blocking(&engine, move |engine| engine.keep_route_note(&note)).await }.boxed()
    }

    fn drop_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>> {
        let (engine, service) = (Arc::new(self.clone()), service.to_owned());
        async move { blocking(&engine, move |engine| engine.drop_route_note(&service)).await }.boxed()
    }

    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteNote>, EffectError>> {
        let engine = Arc::new(self.clone());
        async move { blocking(&engine, |engine| engine.route_notes()).await }.boxed()
    }
}
