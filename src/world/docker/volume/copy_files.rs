//! Fills an empty volume with the content of another: as files where both folders can be reached, else through the
//! engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bollard::models::Volume as EngineVolume;
use tokio_util::sync::CancellationToken;

use super::Volumes;
use super::clone::CopyPlan;
use super::volume_lock::VolumeLock;
use crate::effect::volume::{Content, CopyMethod, WhileWritten};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::folder_copy::{self, CopyProgress, CopyRequest, FolderSize};

pub(super) const FILES: &str = "files";

pub(super) const ENGINE: &str = "engine";

impl Volumes {
    /// Copies the content of `source` into the empty folder `target`, in the way that the plan asks for.
    pub(super) async fn fill_volume(
        &self,
        call: &Call,
        source: &EngineVolume,
        target: &str,
        plan: &CopyPlan,
        lock: &VolumeLock,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let can_copy_files = lock.sees_files && has_folder(source) && std::fs::read_dir(target).is_ok();
        match plan.way {
            CopyMethod::Files if !can_copy_files => Err(EffectError::new(
                ErrorKind::Unsupported,
                format!("the files of volume `{}` are not reachable from this machine", plan.from),
            )
            .hint("omit the option `way`, or run deployer as root on the engine's machine")),
            CopyMethod::Auto | CopyMethod::Files if can_copy_files => {
                // The container keeps `docker volume prune` from removing the incomplete volume. Without any image
                // there is none.
                let guard_container = self.copy_container(&plan.to, Some(&plan.to), false).await.ok();
                let request = FilesCopy {
                    from: source.mountpoint.clone().into(),
                    to: target.into(),
                    verify: plan.verify,
                    lenient: plan.while_written == WhileWritten::Allow,
                };
                let copied = copy_files(call, request, stop).await;
                if let Some(guard_container) = guard_container {
                    guard_container.remove().await;
                }
                copied
            }
            _ => self.copy_through_engine(call, plan, stop).await,
        }
    }

    /// Returns the content of an existing copy. It is not read again, so there is no digest.
    pub(super) fn content_of(&self, volume: &EngineVolume, lock: &VolumeLock) -> Result<Content, EffectError> {
        if !lock.sees_files {
            return Ok(Content { way: ENGINE.into(), ..Content::default() });
        }
        let FolderSize { bytes, files } =
            folder_copy::measure_folder(Path::new(&volume.mountpoint), &AtomicBool::new(false))?;
        Ok(Content { bytes, files, way: FILES.into(), ..Content::default() })
    }
}

/// Returns whether the volume has a folder that is always there. A volume with options may be mounted only while a
/// container uses it.
pub(super) fn has_folder(volume: &EngineVolume) -> bool {
    volume.driver == "local" && volume.options.is_empty()
}

/// A copy of files, as the blocking thread needs it.
struct FilesCopy {
    from: PathBuf,
    to: PathBuf,
    verify: bool,
    lenient: bool,
}

async fn copy_files(call: &Call, request: FilesCopy, stop: &CancellationToken) -> Result<Content, EffectError> {
    let call = call.clone();
    let copy = run_stoppable(stop, move |stopped| {
        call.report_progress("counting");
        let total = folder_copy::measure_folder(&request.from, stopped)?.bytes;
        let progress = CopyProgress::new(&call, Some(total), 0.0, 1.0);
        folder_copy::copy_folder(&CopyRequest {
            from: &request.from,
            to: &request.to,
            verify: request.verify,
            lenient: request.lenient,
            stop: stopped,
            progress: &|bytes| progress.add(bytes),
        })
    });
    let summary = copy.await?;
    Ok(Content {
        bytes: summary.bytes,
        files: summary.files,
        shared: summary.shared,
        way: FILES.into(),
        digest: summary.digest,
    })
}

/// Runs blocking `work` on a thread. When `stop` fires, sets the flag and waits for the thread to end.
pub(super) async fn run_stoppable<T: Send + 'static>(
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
    ended.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copy failed: {why}"))))
}
