//! What the shared services need to know about the containers of a real world.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Container, Stats};
use crate::effect::host::Memory;
use crate::effect::traffic::Driver;

/// The container engine of a real world, as health checks, database checks and host figures use it.
pub trait Engine: Send + Sync {
    /// Returns the kind of engine: `docker` or `local`.
    fn name(&self) -> &'static str;

    /// Inspects a container. `None` when it does not exist.
    fn find_container<'a>(
        &'a self,
        container: &'a ContainerRef,
    ) -> BoxFuture<'a, Result<Option<Container>, EffectError>>;

    /// Lists all containers, including stopped ones.
    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>>;

    /// Measures the resources that a running container uses.
    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>>;

    /// Writes the container's whole log into an existing file.
    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>>;

    /// Returns the address at which deployer itself reaches a port of the container: the published port, else the
    /// container's own address. Without `port`, the only published port, else the only exposed port.
    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>>;

    /// Returns the last lines of the container's log, oldest first. Empty when the log cannot be read.
    fn last_log_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>>;

    /// Makes a file of a volume available on this machine, with the database files beside it. `.` is the whole volume.
    /// Returns the file in the volume itself where it is readable, else a copy that is deleted when the value is
    /// dropped.
    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>>;

    /// Returns the name of the container that publishes this TCP port.
    fn port_publisher(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>>;

    /// Returns the memory of the engine's machine.
    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>>;

    /// Returns whether the engine's containers publish their ports on this machine.
    fn is_on_this_host(&self) -> bool;

    /// Returns the environment that a compose program needs to reach the same engine, such as `DOCKER_HOST`.
    /// `None` where compose is not available.
    fn compose_environment(&self) -> Option<Vec<(String, String)>>;

    /// Creates a stopped container with the whole configuration of `model`, under another name and with these labels.
    fn duplicate<'a>(
        &'a self,
        _model: &'a ContainerRef,
        _name: &'a str,
        _labels: BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Container, EffectError>> {
        Box::pin(async { Err(EffectError::unsupported("compose", self.name())) })
    }

    /// Starts a container, or stops it with the engine's grace period. Does nothing when it is in that state.
    fn set_running<'a>(&'a self, _container: &'a Container, _running: bool) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(async { Err(EffectError::unsupported("compose", self.name())) })
    }

    /// Removes a container, running or not, and keeps its volumes.
    fn remove_container<'a>(&'a self, _container: &'a Container) -> BoxFuture<'a, Result<(), EffectError>> {
        Box::pin(async { Err(EffectError::unsupported("compose", self.name())) })
    }

    /// Records which program drives the route of a service. Replaces an earlier record.
    fn record_route<'a>(&'a self, call: &'a Call, route: &'a RouteRecord) -> BoxFuture<'a, Result<(), EffectError>>;

    /// Removes the record of a service's route. Does nothing when there is none.
    fn remove_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>>;

    /// Lists the routes of the host, by service.
    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteRecord>, EffectError>>;
}

/// What the host records about a route, so that later runs know which driver to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// The service that the route serves.
    pub service: String,
    /// The driver of the route.
    pub driver: Driver,
    /// The address to probe, when it is not the route's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// A file of a volume that this machine can read.
#[derive(Debug)]
pub struct VolumeFile {
    path: PathBuf,
    /// The folder of the copy, when it is one.
    copy: Option<tempfile::TempDir>,
}

impl VolumeFile {
    /// Refers to the file in the volume itself.
    pub fn in_place(path: PathBuf) -> Self {
        Self { path, copy: None }
    }

    /// Refers to a copy in a temporary folder, which is deleted with this value.
    pub fn copied(path: PathBuf, folder: tempfile::TempDir) -> Self {
        Self { path, copy: Some(folder) }
    }

    /// Returns the path of the file on this machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether this is a copy.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}
