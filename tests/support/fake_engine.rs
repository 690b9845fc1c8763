//! A fake engine. The test decides the state of its containers; their addresses are real servers of the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use deployer::base::container_ref::ContainerRef;
use deployer::effect::container::{Container, ContainerState, Stats};
use deployer::effect::host::Memory;
use deployer::effect::{EffectError, ErrorKind};
use deployer::world::Call;
use deployer::world::engine::{Engine, RouteRecord, VolumeFile};
use futures_util::future::{BoxFuture, ready};

/// Has containers and volumes by name, and the containers that publish ports.
#[derive(Default)]
pub struct FakeEngine {
    pub containers: Mutex<BTreeMap<String, FakeContainer>>,
    pub volumes: Mutex<BTreeMap<String, PathBuf>>,
    pub port_publishers: Mutex<BTreeMap<u16, String>>,
    /// The environment for compose. `None` is an engine without compose.
    pub compose: Option<Vec<(String, String)>>,
    /// Whether the engine is on another host.
    pub is_elsewhere: bool,
    /// Finds containers that the test did not add.
    pub inspect: Option<fn(&str) -> Option<Container>>,
    pub routes: Mutex<BTreeMap<String, RouteRecord>>,
}

#[derive(Clone)]
pub struct FakeContainer {
    container: Container,
    address: Option<SocketAddr>,
    log: Vec<String>,
}

impl FakeEngine {
    /// Adds a running container that responds at `address`.
    pub fn add_container(&self, name: &str, address: Option<SocketAddr>) {
        let container: Container = serde_json::from_value(serde_json::json!({
            "id": format!("{name}-id"), "name": name, "image": "web:v1", "image_id": "sha256:1",
            "state": "running", "started_at": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        let added = FakeContainer { container, address, log: Vec::new() };
        self.containers.lock().unwrap().insert(name.into(), added);
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        change(&mut self.containers.lock().unwrap().get_mut(name).unwrap().container);
    }

    pub fn log(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        self.containers.lock().unwrap().get_mut(name).unwrap().log.extend(lines);
    }

    pub fn exit(&self, name: &str, code: i64) {
        self.change(name, |container| {
            container.state = ContainerState::Exited;
            container.exit_code = Some(code);
        });
    }

    pub fn remove(&self, name: &str) {
        self.containers.lock().unwrap().remove(name);
    }

    pub fn volume(&self, name: &str, folder: impl Into<PathBuf>) {
        self.volumes.lock().unwrap().insert(name.into(), folder.into());
    }

    pub fn publish_port(&self, port: u16, container: &str) {
        self.port_publishers.lock().unwrap().insert(port, container.into());
    }

    fn find(&self, name: &str) -> Option<FakeContainer> {
        let containers = self.containers.lock().unwrap();
        containers.values().find(|found| found.container.name == name || found.container.id == name).cloned()
    }
}

impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn find_container<'a>(
        &'a self,
        container: &'a ContainerRef,
    ) -> BoxFuture<'a, Result<Option<Container>, EffectError>> {
        let found = self.find(&container.key).map(|found| found.container);
        Box::pin(ready(Ok(found.or_else(|| self.inspect.and_then(|inspect| inspect(&container.key))))))
    }

    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>> {
        let all = self.containers.lock().unwrap().values().map(|found| found.container.clone()).collect();
        Box::pin(ready(Ok(all)))
    }

    fn duplicate<'a>(
        &'a self,
        _: &'a ContainerRef,
        name: &'a str,
        labels: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Container, EffectError>> {
        self.add_container(name, None);
        self.change(name, |container| {
            container.state = ContainerState::Created;
            container.labels = labels;
        });
        Box::pin(ready(Ok(self.find(name).unwrap().container)))
    }

    fn remove_container<'a>(&'a self, container: &'a Container) -> BoxFuture<'a, Result<(), EffectError>> {
        self.containers.lock().unwrap().remove(&container.name);
        Box::pin(ready(Ok(())))
    }

    fn stats<'a>(&'a self, _: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>> {
        Box::pin(ready(Ok(Stats { memory: 1 << 20, processes: 1, ..Stats::default() })))
    }

    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>> {
        let log = self.find(&container.key).map(|found| found.log).unwrap_or_default();
        std::fs::write(to, log.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        Box::pin(ready(Ok(())))
    }

    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        _: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>> {
        let address = self.find(&container.name).and_then(|found| found.address);
        Box::pin(ready(address.ok_or_else(|| EffectError::new(ErrorKind::Invalid, "it publishes no port"))))
    }

    fn last_log_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>> {
        let log = self.find(&container.key).map(|found| found.log).unwrap_or_default();
        let skipped = log.len().saturating_sub(usize::try_from(lines).unwrap());
        Box::pin(ready(log[skipped..].to_vec()))
    }

    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>> {
        let folder = self.volumes.lock().unwrap().get(volume).cloned();
        Box::pin(ready(
            folder
                .map(|folder| VolumeFile::in_place(folder.join(path)))
                .ok_or_else(|| EffectError::new(ErrorKind::NotFound, format!("volume `{volume}` does not exist"))),
        ))
    }

    fn port_publisher(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>> {
        Box::pin(ready(Ok(self.port_publishers.lock().unwrap().get(&port).cloned())))
    }

    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>> {
        Box::pin(ready(Ok(Memory { total_mb: 2048, available_mb: Some(1024) })))
    }

    fn is_on_this_host(&self) -> bool {
        !self.is_elsewhere
    }

    fn compose_environment(&self) -> Option<Vec<(String, String)>> {
        self.compose.clone()
    }

    fn record_route<'a>(&'a self, _: &'a Call, note: &'a RouteRecord) -> BoxFuture<'a, Result<(), EffectError>> {
        self.routes.lock().unwrap().insert(note.service.clone(), note.clone());
        Box::pin(ready(Ok(())))
    }

    fn remove_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>> {
        self.routes.lock().unwrap().remove(service);
        Box::pin(ready(Ok(())))
    }

    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteRecord>, EffectError>> {
        let routes = self.routes.lock().unwrap().values().cloned().collect();
        Box::pin(ready(Ok(routes)))
    }
}
