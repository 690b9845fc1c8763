//! Copies and snapshots of local volumes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::VolumeRecord;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::volume::{
    CloneVolume, Content, Copied, MeasureVolume, PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot,
    SnapshotVolume, SwapVolumes, Swapped, Volume, VolumeEffect, VolumeOutcome, VolumeSize, WhileWritten,
    check_copy_names, copy_cancelled, copy_timed_out, snapshot_age, snapshot_labels, snapshot_name, snapshots_of,
    volume_exists, volume_has_writers, volume_in_use_by_running,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::folder_copy::{CopyProgress, CopyRequest, exchange_folders};
use crate::world::local::container::record::ContainerRecord;
use crate::world::local::local_engine::{LocalEngine, NAME, is_own};
use crate::world::local::state_folder::{check_name, instant_text, write_json};
use crate::world::{Call, folder_copy};

const COPY_METHOD: &str = "files";
/// Suffix of the volume into which a snapshot is restored first.
const RESTORE_SUFFIX: &str = ".next";

/// What every copy needs.
struct CopyContext<'a> {
    call: &'a Call,
    stop: &'a AtomicBool,
    verify: bool,
}

/// Tells the thread to stop when it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl LocalEngine {
    /// Returns running containers that mount the volume.
    fn running_users(&self, volume: &str, writing: bool) -> Result<Vec<ContainerRecord>, EffectError> {
        let mut users = Vec::new();
        for record in self.container_records()? {
            let mut mounts = record.spec.volumes.iter().filter(|mount| mount.is_volume() && mount.source == volume);
            if mounts.any(|mount| !writing || !mount.read_only) && self.container_status(&record)?.is_running() {
                users.push(record);
            }
        }
        Ok(users)
    }

    fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.running_users(volume, false)?;
        if users.is_empty() { Ok(()) } else { Err(volume_in_use_by_running(volume, &names_of(&users))) }
    }

    fn copy_volume(
        &self,
        context: &CopyContext<'_>,
        (from, to): (&str, &str),
        while_written: WhileWritten,
        labels: BTreeMap<String, String>,
    ) -> Result<Content, EffectError> {
        check_copy_names(from, to)?;
        self.require_volume(from)?;
        check_name("volume", to)?;
        if let Some(existing) = self.find_volume(to)? {
            if existing.labels.get(labels::EFFECT) == Some(&context.call.effect_id()) {
                let measure = folder_copy::measure_folder(&self.volume_data(to), context.stop)?;
                let (bytes, files) = (measure.bytes, measure.files);
                return Ok(Content { bytes, files, way: COPY_METHOD.into(), ..Content::default() });
            }
            return Err(volume_exists(to));
        }
        let writers = self.running_users(from, true)?;
        if while_written == WhileWritten::Refuse && !writers.is_empty() {
            return Err(volume_has_writers(from, &names_of(&writers)));
        }
        let partial = self.begin_partial_copy(context.call, from, to)?;
        if while_written == WhileWritten::Pause {
            partial.pause(&writers)?;
        }
        let is_lenient = while_written == WhileWritten::Allow;
        let copied = copy_data(context, &self.volume_data(from), &partial.data(), is_lenient);
        partial.unpause()?;
        let content = copied.map_err(EffectError::not_applied)?;
        let paused = |user: &ContainerRecord| {
            while_written == WhileWritten::Pause && writers.iter().any(|writer| writer.id == user.id)
        };
        let late: Vec<ContainerRecord> =
            self.running_users(from, true)?.into_iter().filter(|user| !paused(user)).collect();
        if !is_lenient && !late.is_empty() {
            return Err(volume_has_writers(from, &names_of(&late)));
        }
        let run_labels = context.call.labels().map(|(key, value)| (key.to_owned(), value));
        let of = [(labels::COPY_OF.to_owned(), from.to_owned())];
        let labels = labels.into_iter().chain(run_labels).chain(of).collect();
        write_json(&partial.folder.join("meta.json"), &VolumeRecord { labels, created_at: instant_text() })
            .map_err(EffectError::not_applied)?;
        let _guard = self.folder.guard()?;
        partial.finish(&self.volume_folder(to))?;
        Ok(content)
    }

    fn clone_volume(&self, context: &CopyContext<'_>, request: &CloneVolume) -> Result<Copied, EffectError> {
        let mut labels = request.labels.clone();
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let content = self.copy_volume(context, (&request.volume, &request.to), request.while_written, labels)?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    fn snapshot_volume(&self, context: &CopyContext<'_>, request: &SnapshotVolume) -> Result<Snapshot, EffectError> {
        let (name, at) = match self.own_snapshot(context.call, &request.volume)? {
            Some(made) => (made.name, made.labels.get(labels::SNAPSHOT_AT).cloned().unwrap_or_default()),
            None => snapshot_name(&request.volume, now_ms()),
        };
        let mut labels = request.labels.clone();
        labels.extend(snapshot_labels(&request.volume, &at));
        let content = self.copy_volume(context, (&request.volume, &name), request.while_written, labels)?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// Returns the snapshot that this effect made before a crash.
    fn own_snapshot(&self, call: &Call, volume: &str) -> Result<Option<Volume>, EffectError> {
        let mut wanted = snapshots_of(volume);
        wanted.labels.insert(labels::EFFECT.into(), call.effect_id());
        Ok(self.list_volumes(&wanted)?.into_iter().next())
    }

    fn restore_volume(&self, context: &CopyContext<'_>, request: &RestoreVolume) -> Result<Restored, EffectError> {
        let volume = request.required_volume()?.to_owned();
        let snapshot = &request.snapshot;
        let mut done = Restored {
            volume: volume.clone(),
            snapshot: snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if request.only_own {
            self.discard_partial_copy(snapshot, Some(&context.call.run))?;
            if !self.find_volume(snapshot)?.is_some_and(|kept| is_own(context.call, &kept.labels)) {
                return Ok(done);
            }
        }
        self.require_volume(snapshot)?;
        self.require_volume(&volume)?;
        self.expect_unused(&volume)?;
        if !request.only_own {
            let kept = match self.own_snapshot(context.call, &volume)? {
                Some(kept) => kept.name,
                None => {
                    let kept = request.backup_name(&volume, &self.list_volumes(&snapshots_of(&volume))?);
                    let (_, at) = snapshot_name(&volume, now_ms());
                    let labels = snapshot_labels(&volume, &at).into_iter().collect();
                    self.copy_volume(context, (&volume, &kept), WhileWritten::Refuse, labels)?;
                    kept
                }
            };
            done.kept = Some(kept);
        }
        // From here on there is a snapshot that the undo can restore.
        let applied = |error: EffectError| EffectError { applied: Applied::Unknown, ..error };
        let partial =
            self.begin_partial_copy(context.call, snapshot, &format!("{volume}{RESTORE_SUFFIX}")).map_err(applied)?;
        done.content = copy_data(context, &self.volume_data(snapshot), &partial.data(), false).map_err(applied)?;
        let guard = self.folder.guard().map_err(applied)?;
        self.expect_unused(&volume).map_err(applied)?;
        exchange_folders(&partial.data(), &self.volume_data(&volume)).map_err(applied)?;
        if request.only_own {
            self.remove_folder(&self.volume_folder(snapshot))?;
        }
        drop(guard);
        done.restored = true;
        Ok(done)
    }

    pub(crate) fn swap_volumes(&self, request: &SwapVolumes) -> Result<Swapped, EffectError> {
        request.validate()?;
        let _guard = self.folder.guard()?;
        let (first, other) = (self.require_volume(&request.volume)?, self.require_volume(&request.other)?);
        if !request.is_needed(first.content_id.as_deref(), other.content_id.as_deref())? {
            return Ok(Swapped { swapped: false });
        }
        self.expect_unused(&request.volume)?;
        self.expect_unused(&request.other)?;
        exchange_folders(Path::new(&first.mountpoint), Path::new(&other.mountpoint))?;
        Ok(Swapped { swapped: true })
    }

    fn measure_volume(&self, stop: &AtomicBool, request: &MeasureVolume) -> Result<VolumeSize, EffectError> {
        let volume = self.require_volume(&request.volume)?;
        let measure =
            folder_copy::measure_folder(Path::new(&volume.mountpoint), stop).map_err(EffectError::not_applied)?;
        Ok(VolumeSize { bytes: measure.bytes, files: Some(measure.files) })
    }

    pub(crate) fn prune_volumes(&self, call: &Call, request: &PruneVolumes) -> Result<Pruned, EffectError> {
        let mut pruned = Pruned::default();
        let is_meant = |of: &str| request.volume.as_deref().is_none_or(|volume| volume == of);
        for partial in self.partial_copies()?.into_iter().filter(|partial| is_meant(&partial.of)) {
            if self.discard_partial_copy(&partial.to, request.only_own.then_some(&call.run))? {
                pruned.unfinished.push(partial.to);
            }
        }
        let _guard = self.folder.guard()?;
        let mut by_volume: BTreeMap<String, Vec<(Duration, String)>> = BTreeMap::new();
        let now = now_ms();
        for snapshot in self.list_volumes(&Default::default())? {
            if let Some((of, age)) = snapshot_age(&snapshot.labels, now).filter(|(of, _)| is_meant(of)) {
                by_volume.entry(of).or_default().push((age, snapshot.name));
            }
        }
        for due in by_volume.into_values().flat_map(|snapshots| request.outdated(snapshots)) {
            if self.volume_user(&due)?.is_some() {
                pruned.in_use.push(due);
            } else {
                self.remove_folder(&self.volume_folder(&due))?;
                pruned.removed.push(due);
            }
        }
        Ok(pruned)
    }
}

/// Returns the timeout of an effect that reads a whole volume, or `None` for the others.
pub(crate) fn timeout_of(effect: &VolumeEffect) -> Option<DurationText> {
    match effect {
        VolumeEffect::Clone(request) => Some(request.timeout),
        VolumeEffect::Snapshot(request) => Some(request.timeout),
        VolumeEffect::Restore(request) => Some(request.timeout),
        VolumeEffect::Measure(request) => Some(request.timeout),
        VolumeEffect::Create(_)
        | VolumeEffect::List(_)
        | VolumeEffect::Remove(_)
        | VolumeEffect::Swap(_)
        | VolumeEffect::Prune(_) => None,
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Performs an effect on its own thread, which stops by itself when asked to.
pub(crate) async fn perform(
    engine: &Arc<LocalEngine>,
    call: &Call,
    effect: &VolumeEffect,
    timeout: DurationText,
) -> Result<VolumeOutcome, EffectError> {
    let stop = StopOnDrop(Arc::default());
    let (engine, effect, thread_call, stop_flag) = (engine.clone(), effect.clone(), call.clone(), stop.0.clone());
    let mut thread = tokio::task::spawn_blocking(move || {
        let context = |verify| CopyContext { call: &thread_call, stop: &stop_flag, verify };
        match &effect {
            VolumeEffect::Clone(request) => {
                engine.clone_volume(&context(request.verify), request).map(VolumeOutcome::Clone)
            }
            VolumeEffect::Snapshot(request) => {
                engine.snapshot_volume(&context(request.verify), request).map(VolumeOutcome::Snapshot)
            }
            VolumeEffect::Restore(request) => {
                engine.restore_volume(&context(request.verify), request).map(VolumeOutcome::Restore)
            }
            VolumeEffect::Measure(request) => engine.measure_volume(&stop_flag, request).map(VolumeOutcome::Measure),
            other => Err(EffectError::unsupported(format!("`{}`", other.kind()), NAME)),
        }
    });
    let late = tokio::select! {
        ended = &mut thread => return joined(ended),
        () = call.cancel.cancelled() => copy_cancelled(),
        () = tokio::time::sleep(timeout.0) => copy_timed_out(timeout),
    };
    drop(stop);
    match joined(thread.await) {
        Err(error) if error.kind == ErrorKind::Cancelled => Err(EffectError { applied: error.applied, ..late }),
        done => done,
    }
}

fn joined<T>(ended: Result<Result<T, EffectError>, tokio::task::JoinError>) -> Result<T, EffectError> {
    ended.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copy failed: {why}"))))
}

fn copy_data(context: &CopyContext<'_>, from: &Path, to: &Path, lenient: bool) -> Result<Content, EffectError> {
    let total = folder_copy::measure_folder(from, context.stop)?.bytes;
    let copy_progress = CopyProgress::new(context.call, Some(total), 0.0, 1.0);
    let progress = |bytes| copy_progress.add(bytes);
    let copy_request =
        CopyRequest { from, to, verify: context.verify, lenient, stop: context.stop, progress: &progress };
    let copied = folder_copy::copy_folder(&copy_request)?;
    let (bytes, files, shared) = (copied.bytes, copied.files, copied.shared);
    Ok(Content { bytes, files, shared, way: COPY_METHOD.into(), digest: copied.digest })
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Returns the names of the containers.
fn names_of(users: &[ContainerRecord]) -> Vec<String> {
    users.iter().map(|user| user.spec.name.clone()).collect()
}
