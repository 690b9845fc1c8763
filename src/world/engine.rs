//! What the shared services must know of the containers of a real world.

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

/// The container side of a real world, as health checks, database checks and host figures see it.
pub trait Engine: Send + Sync {
    /// `docker` or `local`.
    fn name(&self) -> &'static str;

    /// The container, or none.
    fn look<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Option<Container>, EffectError>>;

    /// Every container, stopped ones too.
    fn containers(&self) -> BoxFuture<'_, Result<Vec<Container>, EffectError>>;

    /// What a running container uses.
    fn stats<'a>(&'a self, container: &'a ContainerRef) -> BoxFuture<'a, Result<Stats, EffectError>>;

    /// Writes the container's whole log into a file that is there.
    fn save_log<'a>(&'a self, container: &'a ContainerRef, to: &'a Path) -> BoxFuture<'a, Result<(), EffectError>>;

    /// Where deployer itself can reach a port of the container: its published port, else its own address.
    /// Without a port: the only published, else the only exposed one.
    fn endpoint<'a>(
        &'a self,
        container: &'a Container,
        port: Option<u16>,
    ) -> BoxFuture<'a, Result<SocketAddr, EffectError>>;

    /// The last lines of its log, oldest first; empty when they cannot be had.
    fn last_lines<'a>(&'a self, container: &'a ContainerRef, lines: u64) -> BoxFuture<'a, Vec<String>>;

    /// The folder `path` of a volume (`.` for all of it) on this machine: the volume itself where it can be reached,
    /// else a copy that vanishes when the value is dropped. `path` names a file; its siblings come along.
    fn volume_file<'a>(&'a self, volume: &'a str, path: &'a str) -> BoxFuture<'a, Result<VolumeFile, EffectError>>;

    /// The container that publishes this TCP port.
    fn port_holder(&self, port: u16) -> BoxFuture<'_, Result<Option<String>, EffectError>>;

    /// Memory of the engine's machine.
    fn memory(&self) -> BoxFuture<'_, Result<Memory, EffectError>>;

    /// Whether the engine's containers listen on this machine's own ports.
    fn is_here(&self) -> bool;

    /// The environment that a compose program needs to talk to the same engine, such as `DOCKER_HOST`;
    /// none where there is no compose.
    fn compose_environment(&self) -> Option<Vec<(String, String)>>;

    /// Writes down which program drives the route of a service, in place of what was written before.
    fn keep_route<'a>(&'a self, call: &'a Call, note: &'a RouteNote) -> BoxFuture<'a, Result<(), EffectError>>;

    /// Forgets it; nothing happens when there was none.
    fn drop_route<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<(), EffectError>>;

    /// All routes of the host, by service.
    fn routes(&self) -> BoxFuture<'_, Result<Vec<RouteNote>, EffectError>>;
}

/// What the host keeps of a route: whoever comes later must know whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteNote {
    pub service: String,
    pub driver: Driver,
    /// Where the public side is asked, when not at the route's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// A file of a volume, reachable on this machine.
#[derive(Debug)]
pub struct VolumeFile {
    path: PathBuf,
    /// Holds the copy, where it is one.
    copy: Option<tempfile::TempDir>,
}

impl VolumeFile {
    /// The file in the volume itself.
    pub fn in_place(path: PathBuf) -> Self {
        Self { path, copy: None }
    }

    /// A copy in a folder that vanishes with this value.
    pub fn copied(path: PathBuf, folder: tempfile::TempDir) -> Self {
        Self { path, copy: Some(folder) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }
}
