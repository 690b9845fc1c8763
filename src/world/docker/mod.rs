//! The docker world: performs effects on a Docker Engine through its API, from version 1.41 (Docker 20.10) on.
//! Knows nothing of scripts, of the journal or of the local world.
//!
//! One file per family. Docker itself is the state: whose a thing is, and whether an effect happened, is read from
//! the labels that everything created here carries.

mod address;
mod build_context;
mod claim;
mod connect;
mod container;
mod container_exec;
mod container_like;
mod container_run;
mod container_spec;
mod container_stats;
mod container_view;
mod credentials;
mod engine;
mod error;
mod image;
mod image_build;
mod image_transfer;
mod lock;
mod lock_list;
mod names;
mod network;
mod output;
mod route;
mod stop;
mod tunnel;
mod volume;
mod volume_copy;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use futures_util::future::BoxFuture;

pub use address::{ChosenBy, ConnectSpec, DEFAULT_ADDRESS};

use super::clock::{Clock, SystemClock};
use super::holder::Holder;
use super::{Call, World};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};

/// What `--engine` calls this world.
pub const NAME: &str = "docker";

/// The world whose containers live in a Docker Engine.
pub struct DockerWorld {
    engine: Arc<DockerEngine>,
    clock: Arc<SystemClock>,
}

/// The engine itself, as the families and the shared services use it.
pub struct DockerEngine {
    docker: Docker,
    address: String,
    remote_host: Option<String>,
    config_folder: Option<PathBuf>,
    holder: Holder,
    clock: Arc<SystemClock>,
    /// Held by the branch that does what only one may do at a time.
    alone: tokio::sync::Mutex<()>,
    volumes_held: volume::VolumesHeld,
    /// Lives as long as the way is needed.
    _tunnel: Option<tunnel::Tunnel>,
}

impl DockerWorld {
    /// Connects to the engine that `host` names, else to the one that `DOCKER_HOST`, the active docker context or
    /// the default says. `holder` is the process that locks are taken for.
    ///
    /// # Errors
    /// `unavailable` when no engine answers within `connect_timeout`, `refused` without permission to ask it,
    /// `invalid`, `not_found` or `unsupported` when the address cannot be used.
    pub async fn connect(host: Option<&str>, holder: Holder, connect_timeout: Duration) -> Result<Self, EffectError> {
        Self::open(ConnectSpec::resolve(host, &|name| std::env::var(name).ok())?, holder, connect_timeout).await
    }

    /// Connects to an engine that has been chosen already.
    ///
    /// # Errors
    /// As [`DockerWorld::connect`].
    pub async fn open(spec: ConnectSpec, holder: Holder, connect_timeout: Duration) -> Result<Self, EffectError> {
        let connection = connect::open(&spec, connect_timeout).await?;
        let clock = Arc::new(SystemClock::default());
        let engine = Arc::new(DockerEngine {
            docker: connection.docker,
            address: connection.address,
            remote_host: connection.remote_host,
            config_folder: spec.config_folder,
            holder,
            clock: Arc::clone(&clock),
            alone: tokio::sync::Mutex::default(),
            volumes_held: volume::VolumesHeld::default(),
            _tunnel: connection.tunnel,
        });
        Ok(Self { engine, clock })
    }

    /// The engine, for the services that both real worlds share.
    pub fn engine(&self) -> Arc<DockerEngine> {
        Arc::clone(&self.engine)
    }
}

impl World for DockerWorld {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let engine = &self.engine;
            match effect {
                Effect::Container(effect) => engine.container(call, effect).await.map(Outcome::Container),
                Effect::Image(effect) => engine.image(call, effect).await.map(Outcome::Image),
                Effect::Volume(effect) => engine.volume(call, effect).await.map(Outcome::Volume),
                Effect::Network(effect) => engine.network(call, effect).await.map(Outcome::Network),
                Effect::Lock(effect) => engine.lock(call, effect).await.map(Outcome::Lock),
                other => Err(EffectError::unsupported(format!("`{}`", other.kind()), NAME)),
            }
        })
    }
}

impl DockerEngine {
    /// The address of the engine as other programs on this machine can use it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Debug for DockerWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerWorld").field("address", &self.engine.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerEngine").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Waits for `work` until the run is cancelled.
async fn unless_cancelled<T>(
    call: &Call,
    what: &str,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    tokio::select! {
        done = work => done,
        () = call.cancel.cancelled() => Err(EffectError::new(ErrorKind::Cancelled, format!("{what} was cancelled"))),
    }
}
