//! Filling an empty volume with the content of another, by whichever way there is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::Volume as EngineVolume;
use tokio_util::sync::CancellationToken;

use super::clone::CopyPlan;
use super::hold::Hold;
use crate::effect::volume::{Content, CopyWay, MeasureVolume, VolumeSize, WhileWritten};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::DockerEngine;
use crate::world::replica::{self, CopyOrder, Measure, Told};

pub(super) const FILES: &str = "files";
pub(super) const ENGINE: &str = "engine";

impl DockerEngine {
    pub(super) async fn fill(
        &self,
        call: &Call,
        source: &EngineVolume,
        target: &str,
        plan: &CopyPlan,
        hold: &Hold,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let by_files = hold.sees_files && has_folder(source) && std::fs::read_dir(target).is_ok();
        match plan.way {
            CopyWay::Files if !by_files => Err(EffectError::new(
                ErrorKind::Unsupported,
                format!("the files of volume `{}` cannot be reached from here", plan.from),
            )
            .hint("leave `way` out; or run deployer as root on the engine's machine")),
            CopyWay::Auto | CopyWay::Files if by_files => {
                // An image's container keeps `docker volume prune` away from what is not whole; without any image
                // there is none.
                let keeper = self.copy_container(&plan.to, Some(&plan.to), false).await.ok();
                let order = Order {
                    from: source.mountpoint.clone().into(),
                    to: target.into(),
                    verify: plan.verify,
                    lenient: plan.while_written == WhileWritten::Allow,
                };
                let copied = copy_files(call, order, stop).await;
                if let Some(keeper) = keeper {
                    keeper.remove().await;
                }
                copied
            }
            _ => self.copy_through_engine(call, plan, stop).await,
        }
    }

    /// What a volume holds that was made before: not read again, so without a digest.
    pub(super) fn content_of(&self, volume: &EngineVolume, hold: &Hold) -> Result<Content, EffectError> {
        if !hold.sees_files {
            return Ok(Content { way: ENGINE.into(), ..Content::default() });
        }
        let Measure { bytes, files } = replica::measure(Path::new(&volume.mountpoint), &AtomicBool::new(false))?;
        Ok(Content { bytes, files, way: FILES.into(), ..Content::default() })
    }

    pub(super) async fn measure_volume(
        self: &Arc<Self>,
        call: &Call,
        request: &MeasureVolume,
    ) -> Result<VolumeSize, EffectError> {
        let Some(volume) = self.volume_named(&request.volume).await? else {
            return Err(super::missing_volume(&request.volume));
        };
        self.expect_whole(&request.volume).await?;
        let (engine, folder) = (self.clone(), PathBuf::from(&volume.mountpoint));
        let by_files = self.remote_host.is_none() && has_folder(&volume) && std::fs::read_dir(&folder).is_ok();
        let name = request.volume.clone();
        let measured = self.in_task(call, request.timeout, move |call, stop| async move {
            if !by_files {
                return engine.measure_through_engine(&call, &name, &stop).await;
            }
            let measure = stoppable(&stop, move |stopped| replica::measure(&folder, stopped)).await?;
            Ok(VolumeSize { bytes: measure.bytes, files: Some(measure.files) })
        });
        measured.await.map_err(EffectError::not_applied)
    }
}

/// A volume with options may be mounted only while a container uses it.
pub(super) fn has_folder(volume: &EngineVolume) -> bool {
    volume.driver == "local" && volume.options.is_empty()
}

struct Order {
    from: PathBuf,
    to: PathBuf,
    verify: bool,
    lenient: bool,
}

async fn copy_files(call: &Call, order: Order, stop: &CancellationToken) -> Result<Content, EffectError> {
    let call = call.clone();
    let replica = stoppable(stop, move |stopped| {
        call.tell("counting");
        let total = replica::measure(&order.from, stopped)?.bytes;
        let progress = Told::new(&call, Some(total), 0.0, 1.0);
        replica::copy(&CopyOrder {
            from: &order.from,
            to: &order.to,
            verify: order.verify,
            lenient: order.lenient,
            stop: stopped,
            progress: &|bytes| progress.add(bytes),
        })
    });
    let replica = replica.await?;
    Ok(Content {
        bytes: replica.bytes,
        files: replica.files,
        shared: replica.shared,
        way: FILES.into(),
        digest: replica.digest,
    })
}

/// Work on files on a thread of its own, which is told to stop and then waited for.
pub(super) async fn stoppable<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl FnOnce(&AtomicBool) -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = stopped.clone();
    let mut thread = tokio::task::spawn_blocking(move || work(&flag));
    let ended = tokio::select! {
        ended = &mut thread => ended,
        () = stop.cancelled() => {
            stopped.store(true, Ordering::Relaxed);
            thread.await
        }
    };
    ended.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copying broke off: {why}"))))
}
