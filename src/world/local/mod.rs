//! The local world: child processes of this machine take the place of containers. For machines without Docker, for the
//! demo and for fast tests. Knows nothing of scripts, the journal or Docker.
//!
//! The whole state is files in one folder, so that another deployer process can see, stop and inspect the same
//! services. One small supervisor process per running container ([`shim`]) outlives deployer, writes the log and the
//! exit code, and applies the restart policy.
//!
//! Differences from a container:
//! - A program sees the whole machine. Absolute paths of the image or of a mount are rewritten in arguments and in
//!   environment values, and `DEPLOYER_ROOT` names the real root. Paths hard-coded in a program are not rewritten.
//! - A process listens on the ports of the machine. `PORT` names the port (the host port of the first mapping, or an
//!   assigned one), and `PORT_<container port>` names each of several. `PORT` overrides a value set by the image or the
//!   script.
//! - `networks` and `aliases` are recorded, but names do not resolve: every process is on `127.0.0.1`.
//! - `mem_limit`, `cpus`, `init`, `hostname`, `extra_hosts`, `read_only` and a mount's `:ro` are not enforced. `user`
//!   is refused unless it is the user who runs deployer.
//! - Secrets are passed to the supervisor in memory and never written to disk. A restart by policy uses that memory, so
//!   it has the values of the last `docker_start`. Nothing is restarted after a reboot.

pub mod shim;

mod bounded_wait;
mod container;
mod engine_impl;
mod file_tree;
mod image;
mod local_engine;
mod lock;
mod network;
mod port;
mod process;
mod route;
mod state_folder;
mod volume;

pub use local_engine::{LocalEngine, Shim};

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use local_engine::{NAME, run_blocking};
use state_folder::StateFolder;

use crate::effect::container::{ContainerEffect, ContainerOutcome};
use crate::effect::image::{ImageEffect, ImageOutcome};
use crate::effect::network::{NetworkEffect, NetworkOutcome};
use crate::effect::volume::{VolumeEffect, VolumeOutcome};
use crate::effect::{Effect, EffectError, Outcome};
use crate::world::clock::{Clock, SystemClock};
use crate::world::process_identity::ProcessIdentity;
use crate::world::{Call, World};

/// Performs effects with child processes.
pub struct LocalWorld {
    engine: Arc<LocalEngine>,
    clock: Arc<SystemClock>,
}

impl LocalWorld {
    /// Opens the state in `folder`, which is created if it does not exist. `holder` identifies this process in locks.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created or read.
    pub fn open(folder: PathBuf, shim: Shim, holder: ProcessIdentity) -> Result<Self, EffectError> {
        let folder = StateFolder::open(folder)?;
        Ok(Self { engine: Arc::new(LocalEngine { folder, shim, holder }), clock: Arc::default() })
    }

    /// Returns the engine, for the services that all real worlds share.
    pub fn engine(&self) -> Arc<LocalEngine> {
        self.engine.clone()
    }

    async fn container(&self, call: &Call, effect: &ContainerEffect) -> Result<ContainerOutcome, EffectError> {
        let engine = &self.engine;
        match effect {
            ContainerEffect::Run(request) => engine.run_container(call, &request.0).await.map(ContainerOutcome::Run),
            ContainerEffect::Create(request) => {
                engine.create_container(call, &request.0).await.map(ContainerOutcome::Create)
            }
            ContainerEffect::Start(request) => {
                if let Some(stop) = request.stop_request() {
                    engine.stop_container(call, &stop).await?;
                }
                engine.start_container(call, &request.container.key).await.map(ContainerOutcome::Start)
            }
            ContainerEffect::Stop(request) => engine.stop_container(call, request).await.map(ContainerOutcome::Stop),
            ContainerEffect::Kill(request) => engine.signal_container(call, request).await.map(ContainerOutcome::Kill),
            ContainerEffect::Remove(request) => {
                engine.remove_container(call, request).await.map(ContainerOutcome::Remove)
            }
            ContainerEffect::Rename(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.rename_container(&request))
                    .await
                    .map(ContainerOutcome::Rename)
            }
            ContainerEffect::Inspect(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.inspect_container(&request))
                    .await
                    .map(ContainerOutcome::Inspect)
            }
            ContainerEffect::List(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.list_containers(&request)).await.map(ContainerOutcome::List)
            }
            ContainerEffect::Logs(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.container_logs(&request)).await.map(ContainerOutcome::Logs)
            }
            ContainerEffect::Exec(request) => engine.exec_in_container(call, request).await.map(ContainerOutcome::Exec),
            ContainerEffect::Wait(request) => engine.wait_for_exit(call, request).await.map(ContainerOutcome::Wait),
            ContainerEffect::Stats(request) => {
                engine.container_stats(&request.container.key).await.map(ContainerOutcome::Stats)
            }
        }
    }

    async fn image(&self, call: &Call, effect: &ImageEffect) -> Result<ImageOutcome, EffectError> {
        let engine = &self.engine;
        let no_registry = |kind: &str| {
            EffectError::unsupported(format!("`{kind}`"), NAME).hint("build the image here: `docker_build`")
        };
        match effect {
            ImageEffect::Build(request) => engine.build_image(call, request).await.map(ImageOutcome::Build),
            ImageEffect::Tag(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.tag_image(&request)).await.map(ImageOutcome::Tag)
            }
            ImageEffect::List(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.list_images(&request)).await.map(ImageOutcome::List)
            }
            ImageEffect::Remove(request) => {
                let request = request.clone();
                run_blocking(engine, move |engine| engine.remove_image(&request)).await.map(ImageOutcome::Remove)
            }
            ImageEffect::Pull(_) | ImageEffect::Push(_) | ImageEffect::Load(_) => Err(no_registry(effect.kind())),
        }
    }

    async fn volume(&self, call: &Call, effect: &VolumeEffect) -> Result<VolumeOutcome, EffectError> {
        if let Some(timeout) = volume::copy::timeout_of(effect) {
            return volume::copy::perform(&self.engine, call, effect, timeout).await;
        }
        let (effect, call) = (effect.clone(), call.clone());
        run_blocking(&self.engine, move |engine| match effect {
            VolumeEffect::Create(request) => engine.create_volume(&call, &request).map(VolumeOutcome::Create),
            VolumeEffect::List(request) => engine.list_volumes(&request).map(VolumeOutcome::List),
            VolumeEffect::Remove(request) => engine.remove_volume(&call, &request).map(VolumeOutcome::Remove),
            VolumeEffect::Swap(request) => engine.swap_volumes(&request).map(VolumeOutcome::Swap),
            VolumeEffect::Prune(request) => engine.prune_volumes(&call, &request).map(VolumeOutcome::Prune),
            // Handled above, because they take long.
            VolumeEffect::Clone(_)
            | VolumeEffect::Snapshot(_)
            | VolumeEffect::Restore(_)
            | VolumeEffect::Measure(_) => Err(EffectError::unsupported(format!("`{}`", effect.kind()), NAME)),
        })
        .await
    }

    async fn network(&self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        let (effect, call) = (effect.clone(), call.clone());
        run_blocking(&self.engine, move |engine| match effect {
            NetworkEffect::Create(request) => engine.create_network(&call, &request).map(NetworkOutcome::Create),
            NetworkEffect::List(request) => engine.list_networks(&request).map(NetworkOutcome::List),
            NetworkEffect::Connect(request) => engine.connect_network(&request).map(NetworkOutcome::Connect),
            NetworkEffect::Remove(request) => engine.remove_network(&call, &request).map(NetworkOutcome::Remove),
        })
        .await
    }
}

impl World for LocalWorld {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn perform<'a>(&'a self, call: &'a Call, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            match effect {
                Effect::Container(effect) => self.container(call, effect).await.map(Outcome::Container),
                Effect::Image(effect) => self.image(call, effect).await.map(Outcome::Image),
                Effect::Volume(effect) => self.volume(call, effect).await.map(Outcome::Volume),
                Effect::Network(effect) => self.network(call, effect).await.map(Outcome::Network),
                Effect::Lock(effect) => self.engine.lock(call, effect).await.map(Outcome::Lock),
                other => Err(EffectError::unsupported(format!("`{}`", other.kind()), NAME)),
            }
        })
    }
}
