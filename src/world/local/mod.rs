//! The local world: child processes of this machine stand in for containers. For machines without Docker, for the
//! demo and for fast tests. Knows nothing of scripts, the journal or Docker.
//!
//! All state is files of one folder, so that another deployer sees, stops and inspects the same services. A small
//! supervisor process per running container ([`shim`]) outlives deployer, keeps the log and the exit code, and
//! applies the restart policy.
//!
//! What differs from a container, since there is none:
//! - A program sees the whole machine. Absolute paths of the image or of a mount are rewritten in arguments and in
//!   environment values, and `DEPLOYER_ROOT` tells the real root; a path written into a program's own code is not.
//! - A process listens on the machine's own ports: `PORT` tells it which (the host port of the first mapping, else
//!   one that is assigned), `PORT_<container port>` each of several. `PORT` overrules one that the image or the
//!   script sets.
//! - `networks` and `aliases` are kept, but names do not resolve: everybody is on `127.0.0.1`.
//! - `mem_limit`, `cpus`, `init`, `hostname`, `extra_hosts`, `read_only` and a mount's `:ro` are not enforced.
//!   `user` is refused unless it is the user who runs deployer.
//! - Secrets are handed to the supervisor in memory and written nowhere; a restart by policy uses that memory, so
//!   it has the values of the last `docker_start`. After a reboot nothing is started again.

pub mod shim;

mod build;
mod containers;
mod context;
mod create;
mod dockerfile;
mod engine;
mod exec;
mod folder;
mod image_record;
mod images;
mod launch;
mod locks;
mod log_file;
mod networks;
mod ports;
mod probe;
mod process;
mod record;
mod remove;
mod rewrite;
mod routes;
mod start;
mod stats;
mod stop;
mod tree;
mod volume_copies;
mod volume_half;
mod volumes;
mod waiting;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::clock::{Clock, SystemClock};
use super::holder::Holder;
use super::{Call, World};
use crate::base::labels;
use crate::effect::container::{ContainerEffect, ContainerOutcome};
use crate::effect::image::{ImageEffect, ImageOutcome};
use crate::effect::network::{NetworkEffect, NetworkOutcome};
use crate::effect::volume::{VolumeEffect, VolumeOutcome};
use crate::effect::{Effect, EffectError, ErrorKind, Outcome};
use folder::{Folder, io_error};
use waiting::Waiting;

/// What `--engine` says.
const NAME: &str = "local";

/// How to start the supervisor: a program and the arguments before the container's folder.
#[derive(Clone, Debug)]
pub struct Shim {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// Performs effects with child processes.
pub struct LocalWorld {
    engine: Arc<LocalEngine>,
    clock: Arc<SystemClock>,
}

/// The containers, images, volumes, networks and locks of one folder.
#[derive(Clone)]
pub struct LocalEngine {
    folder: Folder,
    shim: Shim,
    holder: Holder,
}

impl LocalWorld {
    /// Opens the state in `folder`, or begins an empty one. `holder` is this process, as locks name it.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: PathBuf, shim: Shim, holder: Holder) -> Result<Self, EffectError> {
        let folder = Folder::open(folder)?;
        Ok(Self { engine: Arc::new(LocalEngine { folder, shim, holder }), clock: Arc::default() })
    }

    /// The container side, for the services that all real worlds share.
    pub fn engine(&self) -> Arc<LocalEngine> {
        self.engine.clone()
    }

    async fn container(&self, call: &Call, effect: &ContainerEffect) -> Result<ContainerOutcome, EffectError> {
        let engine = &self.engine;
        match effect {
            ContainerEffect::Run(request) => engine.run(call, &request.0).await.map(ContainerOutcome::Run),
            ContainerEffect::Create(request) => engine.create(call, &request.0).await.map(ContainerOutcome::Create),
            ContainerEffect::Start(request) => {
                if let Some(stop) = request.stop_first() {
                    engine.stop(call, &stop).await?;
                }
                engine.start(call, &request.container.key).await.map(ContainerOutcome::Start)
            }
            ContainerEffect::Stop(request) => engine.stop(call, request).await.map(ContainerOutcome::Stop),
            ContainerEffect::Kill(request) => engine.kill(call, request).await.map(ContainerOutcome::Kill),
            ContainerEffect::Remove(request) => engine.remove(call, request).await.map(ContainerOutcome::Remove),
            ContainerEffect::Rename(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.rename(&request)).await.map(ContainerOutcome::Rename)
            }
            ContainerEffect::Inspect(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.inspect(&request)).await.map(ContainerOutcome::Inspect)
            }
            ContainerEffect::List(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.list(&request)).await.map(ContainerOutcome::List)
            }
            ContainerEffect::Logs(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.logs(&request)).await.map(ContainerOutcome::Logs)
            }
            ContainerEffect::Exec(request) => engine.exec(call, request).await.map(ContainerOutcome::Exec),
            ContainerEffect::Wait(request) => engine.wait(call, request).await.map(ContainerOutcome::Wait),
            ContainerEffect::Stats(request) => {
                engine.stats_of(&request.container.key).await.map(ContainerOutcome::Stats)
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
                blocking(engine, move |engine| engine.tag_image(&request)).await.map(ImageOutcome::Tag)
            }
            ImageEffect::List(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.list_images(&request)).await.map(ImageOutcome::List)
            }
            ImageEffect::Remove(request) => {
                let request = request.clone();
                blocking(engine, move |engine| engine.remove_image(&request)).await.map(ImageOutcome::Remove)
            }
            ImageEffect::Pull(_) | ImageEffect::Push(_) | ImageEffect::Load(_) => Err(no_registry(effect.kind())),
        }
    }

    async fn volume(&self, call: &Call, effect: &VolumeEffect) -> Result<VolumeOutcome, EffectError> {
        if let Some(timeout) = volume_copies::time_of(effect) {
            return volume_copies::perform(&self.engine, call, effect, timeout).await;
        }
        let (effect, call) = (effect.clone(), call.clone());
        blocking(&self.engine, move |engine| match effect {
            VolumeEffect::Create(request) => engine.create_volume(&call, &request).map(VolumeOutcome::Create),
            VolumeEffect::List(request) => engine.list_volumes(&request).map(VolumeOutcome::List),
            VolumeEffect::Remove(request) => engine.remove_volume(&call, &request).map(VolumeOutcome::Remove),
            VolumeEffect::Swap(request) => engine.swap_volumes(&request).map(VolumeOutcome::Swap),
            VolumeEffect::Prune(request) => engine.prune_volumes(&call, &request).map(VolumeOutcome::Prune),
            // Handled above: they take long.
            VolumeEffect::Clone(_)
            | VolumeEffect::Snapshot(_)
            | VolumeEffect::Restore(_)
            | VolumeEffect::Measure(_) => Err(EffectError::unsupported(format!("`{}`", effect.kind()), NAME)),
        })
        .await
    }

    async fn network(&self, call: &Call, effect: &NetworkEffect) -> Result<NetworkOutcome, EffectError> {
        let (effect, call) = (effect.clone(), call.clone());
        blocking(&self.engine, move |engine| match effect {
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

impl LocalEngine {
    /// Throws a folder of the state away: out of sight at once, then gone.
    fn discard(&self, folder: &Path) -> Result<(), EffectError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let gone = folder.with_file_name(format!(".gone-{name}-{}", folder::random_id()?));
        fs::rename(folder, &gone).map_err(|why| io_error("remove", folder, &why))?;
        fs::remove_dir_all(&gone).map_err(|why| io_error("remove", &gone, &why))
    }
}

/// Runs work that blocks on files where it holds nobody up.
async fn blocking<T: Send + 'static>(
    engine: &Arc<LocalEngine>,
    work: impl FnOnce(&LocalEngine) -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    let engine = engine.clone();
    tokio::task::spawn_blocking(move || work(&engine))
        .await
        .unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the local world failed: {why}"))))
}

/// Whether all the wanted labels are there; an empty wanted value asks for the key alone.
fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|there| value.is_empty() || there == value))
}

/// Whether the run that calls created the thing with these labels.
fn is_own(call: &Call, all: &BTreeMap<String, String>) -> bool {
    all.get(labels::RUN).is_some_and(|run| run == call.run.as_str())
}
