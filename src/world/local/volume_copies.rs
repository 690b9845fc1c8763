//! Copies and snapshots of local volumes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::folder::{check_name, instant_text, write_json};
use super::record::ContainerRecord;
use super::volumes::VolumeRecord;
use super::{LocalEngine, is_own};
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::volume::{
    CloneVolume, Content, Copied, MeasureVolume, PruneVolumes, Pruned, RestoreVolume, Restored, Snapshot,
    SnapshotVolume, SwapVolumes, Swapped, Volume, VolumeEffect, VolumeOutcome, VolumeSize, WhileWritten, snapshot_age,
    snapshot_labels, snapshot_name, snapshots_of,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::replica::{self, CopyOrder, Told, exchange};

const WAY: &str = "files";
/// Ends the name under which a restored content is made.
const NEXT: &str = ".next";

/// What comes along with a copy.
struct Job<'a> {
    call: &'a Call,
    stop: &'a AtomicBool,
    verify: bool,
}

/// How long an effect may take that goes through a whole volume; none for the others.
pub(super) fn time_of(effect: &VolumeEffect) -> Option<DurationText> {
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

/// Tells the thread to stop when nobody waits for it any more.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Performs it on a thread of its own, which ends by itself when it is told to stop.
pub(super) async fn perform(
    engine: &Arc<LocalEngine>,
    call: &Call,
    effect: &VolumeEffect,
    timeout: DurationText,
) -> Result<VolumeOutcome, EffectError> {
    let stop = StopWhenDropped(Arc::default());
    let (engine, effect, told, flag) = (engine.clone(), effect.clone(), call.clone(), stop.0.clone());
    let mut thread = tokio::task::spawn_blocking(move || {
        let job = |verify| Job { call: &told, stop: &flag, verify };
        match &effect {
            VolumeEffect::Clone(request) => {
                engine.clone_volume(&job(request.verify), request).map(VolumeOutcome::Clone)
            }
            VolumeEffect::Snapshot(request) => {
                engine.snapshot_volume(&job(request.verify), request).map(VolumeOutcome::Snapshot)
            }
            VolumeEffect::Restore(request) => {
                engine.restore_volume(&job(request.verify), request).map(VolumeOutcome::Restore)
            }
            VolumeEffect::Measure(request) => engine.measure_volume(&flag, request).map(VolumeOutcome::Measure),
            other => Err(EffectError::unsupported(format!("`{}`", other.kind()), super::NAME)),
        }
    });
    let late = tokio::select! {
        ended = &mut thread => return joined(ended),
        () = call.cancel.cancelled() => EffectError::new(ErrorKind::Cancelled, "the copying was cancelled"),
        () = tokio::time::sleep(timeout.0) => {
            EffectError::new(ErrorKind::Timeout, format!("the copying did not end within {timeout}"))
                .hint("give it more time with the option `timeout`")
        }
    };
    drop(stop);
    match joined(thread.await) {
        Err(error) if error.kind == ErrorKind::Cancelled => Err(EffectError { applied: error.applied, ..late }),
        done => done,
    }
}

fn joined<T>(ended: Result<Result<T, EffectError>, tokio::task::JoinError>) -> Result<T, EffectError> {
    ended.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copying broke off: {why}"))))
}

fn conflict(message: String) -> EffectError {
    EffectError::new(ErrorKind::Conflict, message).not_applied()
}

fn invalid(message: String) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

impl LocalEngine {
    /// Running containers that mount the volume.
    fn running_users(&self, volume: &str, writing: bool) -> Result<Vec<ContainerRecord>, EffectError> {
        let mut users = Vec::new();
        for record in self.records()? {
            let mut mounts = record.spec.volumes.iter().filter(|mount| mount.is_volume() && mount.source == volume);
            if mounts.any(|mount| !writing || !mount.read_only) && self.life(&record)?.is_running() {
                users.push(record);
            }
        }
        Ok(users)
    }

    fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.running_users(volume, false)?;
        if users.is_empty() {
            return Ok(());
        }
        Err(conflict(format!("volume `{volume}` is used by container {}", quoted(&users)))
            .hint("stop the container first: `docker_stop`"))
    }

    fn copy_volume(
        &self,
        job: &Job<'_>,
        (from, to): (&str, &str),
        while_written: WhileWritten,
        labels: BTreeMap<String, String>,
    ) -> Result<Content, EffectError> {
        if from == to {
            return Err(invalid(format!("volume `{from}` cannot be copied into itself")));
        }
        self.volume(from)?;
        check_name("volume", to)?;
        if let Some(there) = self.volume_find(to)? {
            if there.labels.get(labels::EFFECT) == Some(&job.call.effect_id()) {
                let measure = replica::measure(&self.volume_data(to), job.stop)?;
                let (bytes, files) = (measure.bytes, measure.files);
                return Ok(Content { bytes, files, way: WAY.into(), ..Content::default() });
            }
            return Err(EffectError::new(ErrorKind::NameTaken, format!("there is a volume `{to}` already"))
                .hint(format!("choose another name, or remove it: `volume_remove(\"{to}\")`"))
                .not_applied());
        }
        let writers = self.running_users(from, true)?;
        if while_written == WhileWritten::Refuse && !writers.is_empty() {
            return Err(written(from, &writers));
        }
        let half = self.begin_half(job.call, from, to)?;
        if while_written == WhileWritten::Pause {
            half.pause(&writers)?;
        }
        let is_lenient = while_written == WhileWritten::Allow;
        let copied = copy_data(job, &self.volume_data(from), &half.data(), is_lenient);
        half.unpause()?;
        let content = copied.map_err(EffectError::not_applied)?;
        let paused = |user: &ContainerRecord| {
            while_written == WhileWritten::Pause && writers.iter().any(|writer| writer.id == user.id)
        };
        let late: Vec<ContainerRecord> =
            self.running_users(from, true)?.into_iter().filter(|user| !paused(user)).collect();
        if !is_lenient && !late.is_empty() {
            return Err(written(from, &late));
        }
        let own = job.call.labels().map(|(key, value)| (key.to_owned(), value));
        let of = [(labels::COPY_OF.to_owned(), from.to_owned())];
        let labels = labels.into_iter().chain(own).chain(of).collect();
        write_json(&half.folder.join("meta.json"), &VolumeRecord { labels, created_at: instant_text() })
            .map_err(EffectError::not_applied)?;
        let _guard = self.folder.guard()?;
        half.finish(&self.volume_folder(to))?;
        Ok(content)
    }

    fn clone_volume(&self, job: &Job<'_>, request: &CloneVolume) -> Result<Copied, EffectError> {
        let mut labels = request.labels.clone();
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let content = self.copy_volume(job, (&request.volume, &request.to), request.while_written, labels)?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    fn snapshot_volume(&self, job: &Job<'_>, request: &SnapshotVolume) -> Result<Snapshot, EffectError> {
        let (name, at) = match self.own_snapshot(job.call, &request.volume)? {
            Some(made) => (made.name, made.labels.get(labels::SNAPSHOT_AT).cloned().unwrap_or_default()),
            None => snapshot_name(&request.volume, now_ms()),
        };
        let mut labels = request.labels.clone();
        labels.extend(snapshot_labels(&request.volume, &at));
        let content = self.copy_volume(job, (&request.volume, &name), request.while_written, labels)?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// The snapshot that this very effect made before a crash.
    fn own_snapshot(&self, call: &Call, volume: &str) -> Result<Option<Volume>, EffectError> {
        let mut wanted = snapshots_of(volume);
        wanted.labels.insert(labels::EFFECT.into(), call.effect_id());
        Ok(self.list_volumes(&wanted)?.into_iter().next())
    }

    fn restore_volume(&self, job: &Job<'_>, request: &RestoreVolume) -> Result<Restored, EffectError> {
        let Some(volume) = request.volume().map(str::to_owned) else {
            let message = format!("`{}` does not say which volume it is a snapshot of", request.snapshot);
            return Err(invalid(message).hint("say it with the option `to`"));
        };
        let snapshot = &request.snapshot;
        let mut done = Restored {
            volume: volume.clone(),
            snapshot: snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if request.only_own {
            self.clear_half(snapshot, Some(&job.call.run))?;
            if !self.volume_find(snapshot)?.is_some_and(|kept| is_own(job.call, &kept.labels)) {
                return Ok(done);
            }
        }
        self.volume(snapshot)?;
        self.volume(&volume)?;
        self.expect_unused(&volume)?;
        if !request.only_own {
            let kept = match self.own_snapshot(job.call, &volume)? {
                Some(kept) => kept.name,
                None => {
                    let kept = request.keeps(&volume, &self.list_volumes(&snapshots_of(&volume))?);
                    let (_, at) = snapshot_name(&volume, now_ms());
                    let labels = snapshot_labels(&volume, &at).into_iter().collect();
                    self.copy_volume(job, (&volume, &kept), WhileWritten::Refuse, labels)?;
                    kept
                }
            };
            done.kept = Some(kept);
        }
        // From here on a snapshot is there that the undo goes back to.
        let applied = |error: EffectError| EffectError { applied: Applied::Unknown, ..error };
        let half = self.begin_half(job.call, snapshot, &format!("{volume}{NEXT}")).map_err(applied)?;
        done.content = copy_data(job, &self.volume_data(snapshot), &half.data(), false).map_err(applied)?;
        let guard = self.folder.guard().map_err(applied)?;
        self.expect_unused(&volume).map_err(applied)?;
        exchange(&half.data(), &self.volume_data(&volume)).map_err(applied)?;
        if request.only_own {
            self.discard(&self.volume_folder(snapshot))?;
        }
        drop(guard);
        done.restored = true;
        Ok(done)
    }

    pub(super) fn swap_volumes(&self, request: &SwapVolumes) -> Result<Swapped, EffectError> {
        if request.volume == request.other {
            return Err(invalid(format!("volume `{}` cannot be exchanged with itself", request.volume)));
        }
        let _guard = self.folder.guard()?;
        let (one, other) = (self.volume(&request.volume)?, self.volume(&request.other)?);
        match &request.back_to {
            Some(_) if one.content_id == request.back_to => return Ok(Swapped { swapped: false }),
            Some(_) if other.content_id != request.back_to => {
                return Err(conflict(format!("what volume `{}` held is in neither of the two", request.volume)));
            }
            _ => {}
        }
        self.expect_unused(&request.volume)?;
        self.expect_unused(&request.other)?;
        exchange(Path::new(&one.mountpoint), Path::new(&other.mountpoint))?;
        Ok(Swapped { swapped: true })
    }

    fn measure_volume(&self, stop: &AtomicBool, request: &MeasureVolume) -> Result<VolumeSize, EffectError> {
        let volume = self.volume(&request.volume)?;
        let measure = replica::measure(Path::new(&volume.mountpoint), stop).map_err(EffectError::not_applied)?;
        Ok(VolumeSize { bytes: measure.bytes, files: Some(measure.files) })
    }

    pub(super) fn prune_volumes(&self, call: &Call, request: &PruneVolumes) -> Result<Pruned, EffectError> {
        let mut pruned = Pruned::default();
        let is_meant = |of: &str| request.volume.as_deref().is_none_or(|volume| volume == of);
        for half in self.halves()?.into_iter().filter(|half| is_meant(&half.of)) {
            if self.clear_half(&half.to, request.only_own.then_some(&call.run))? {
                pruned.unfinished.push(half.to);
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
            if self.user_of_volume(&due)?.is_some() {
                pruned.in_use.push(due);
            } else {
                self.discard(&self.volume_folder(&due))?;
                pruned.removed.push(due);
            }
        }
        Ok(pruned)
    }
}

fn copy_data(job: &Job<'_>, from: &Path, to: &Path, lenient: bool) -> Result<Content, EffectError> {
    let total = replica::measure(from, job.stop)?.bytes;
    let told = Told::new(job.call, Some(total), 0.0, 1.0);
    let progress = |bytes| told.add(bytes);
    let order = CopyOrder { from, to, verify: job.verify, lenient, stop: job.stop, progress: &progress };
    let replica = replica::copy(&order)?;
    let (bytes, files, shared) = (replica.bytes, replica.files, replica.shared);
    Ok(Content { bytes, files, shared, way: WAY.into(), digest: replica.digest })
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn quoted(users: &[ContainerRecord]) -> String {
    users.iter().map(|user| format!("`{}`", user.spec.name)).collect::<Vec<_>>().join(", ")
}

fn written(volume: &str, writers: &[ContainerRecord]) -> EffectError {
    conflict(format!("container {} can write to volume `{volume}`, so a copy may be torn", quoted(writers)))
        .hint("halt it for the length of the copy: `while_written: \"pause\"`; or copy all the same: `\"allow\"`")
}
