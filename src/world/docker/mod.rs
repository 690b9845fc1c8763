//! The docker world: performs effects on a Docker Engine through its API, version 1.41 (Docker 20.10) or later. Knows
//! nothing of scripts, the journal or the local world.
//!
//! Each category of effects has its own struct, in the file or folder of that name: `container`, `image`, `volume`,
//! `network`, `lock`. They share one `EngineClient`. Docker itself holds the state: the labels of everything that
//! deployer creates say which run created it and whether an effect happened.

mod client;
mod connection;
mod container;
mod engine;
mod error;
mod image;
mod lock;
mod names;
mod network;
mod output_tail;
mod port;
mod route_records;
mod volume;
mod volume_api;
mod volume_claim;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use client::EngineClient;
pub use connection::{ChosenBy, ConnectSpec, DEFAULT_ADDRESS};
pub use engine::DockerEngine;

use super::clock::Clock;
use super::process_identity::ProcessIdentity;
use super::{Call, World};
use crate::effect::{Effect, EffectError, Outcome};

/// The name of this world for `--engine`.
pub const NAME: &str = "docker";

/// The world whose containers run in a Docker Engine.
pub struct DockerWorld {
    engine: Arc<DockerEngine>,
}

impl DockerWorld {
    /// Connects to the engine at `host`. Without one, uses `DOCKER_HOST`, the active docker context or the default
    /// socket. `process` is the process that holds the locks.
    ///
    /// # Errors
    ///
    /// Returns `unavailable` when no engine answers within `connect_timeout`, `refused` without permission to use it,
    /// and `invalid`, `not_found` or `unsupported` when the address cannot be used.
    pub async fn connect(
        host: Option<&str>,
        process: ProcessIdentity,
        connect_timeout: Duration,
    ) -> Result<Self, EffectError> {
        Self::open(ConnectSpec::resolve(host, &|name| std::env::var(name).ok())?, process, connect_timeout).await
    }

    /// Connects to an engine whose address is already resolved.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`DockerWorld::connect`].
    pub async fn open(
        spec: ConnectSpec,
        process: ProcessIdentity,
        connect_timeout: Duration,
    ) -> Result<Self, EffectError> {
        let client = EngineClient::connect(spec, process, connect_timeout).await?;
        Ok(Self { engine: Arc::new(DockerEngine::new(Arc::new(client))) })
    }

    /// Returns the engine, for the services that both real worlds share.
    pub fn engine(&self) -> Arc<DockerEngine> {
        Arc::clone(&self.engine)
    }
}

impl World for DockerWorld {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.engine.clock()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            let engine = &self.engine;
            match effect {
                Effect::Container(effect) => engine.containers.perform(call, effect).await.map(Outcome::Container),
                Effect::Image(effect) => engine.images.perform(call, effect).await.map(Outcome::Image),
                Effect::Volume(effect) => engine.volumes.perform(call, effect).await.map(Outcome::Volume),
                Effect::Network(effect) => engine.networks.perform(call, effect).await.map(Outcome::Network),
                Effect::Lock(effect) => engine.locks.perform(call, effect).await.map(Outcome::Lock),
                other => Err(EffectError::unsupported(format!("`{}`", other.kind()), NAME)),
            }
        })
    }
}

impl fmt::Debug for DockerWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerWorld").field("engine", &self.engine).finish()
    }
}
