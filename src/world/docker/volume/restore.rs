//! Restores the content of a volume from a snapshot, and undoes that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::Volume as EngineVolume;
use tokio_util::sync::CancellationToken;

use super::Volumes;
use super::clone::CopyPlan;
use super::copy_files::has_folder;
use super::unfinished::UnfinishedCopy;
use super::volume_lock::VolumeLock;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::volume::volume_not_found;
use crate::effect::volume::{
    Content, CopyMethod, RestoreVolume, Restored, WhileWritten, snapshot_labels, snapshot_name, snapshots_of,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::names;
use crate::world::folder_copy::exchange_folders;

/// The suffix of the volume in which the restored content is prepared.
const NEXT: &str = ".next";

/// Longer than any effect, whose own deadline applies.
const NO_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Volumes {
    pub(super) async fn restore(&self, call: &Call, request: &RestoreVolume) -> Result<Restored, EffectError> {
        let volume = request.required_volume()?.to_owned();
        names::validate("volume", &request.snapshot)?;
        names::validate("volume", &volume)?;
        let (volumes, request) = (self.clone(), request.clone());
        self.run_in_task(call, request.timeout, move |call, stop| async move {
            let lock = volumes.lock(&call, &volume).await?;
            let result = match request.only_own {
                true => volumes.undo_restore(&call, &request, &volume, &lock, &stop).await,
                false => volumes.restore_locked(&call, &request, &volume, &lock, &stop).await,
            };
            let released = lock.release().await;
            result.and_then(|restored| released.map(|()| restored))
        })
        .await
    }

    async fn restore_locked(
        &self,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        lock: &VolumeLock,
        stop: &CancellationToken,
    ) -> Result<Restored, EffectError> {
        self.source_of(&request.snapshot).await?;
        let target = self.target_of(volume).await?;
        let in_place = self.can_replace_in_place(request, &target, lock)?;
        match in_place {
            true => self.expect_unused(volume).await?,
            false => self.expect_unmounted(volume).await?,
        }
        // A half-replaced volume has nothing worth keeping: its content was kept before.
        let unfinished = self.unfinished_copy(volume).await?;
        let kept = match unfinished.as_ref().and_then(|copy| copy.kept.clone()) {
            Some(kept) => kept,
            None => self.keep_content(call, request, volume, stop).await?,
        };
        // From here on the previous content is kept, and the undo restores it.
        let content = self.replace(call, request, &target, &kept, in_place, stop).await;
        let content = content.map_err(|error| EffectError { applied: Applied::Unknown, ..error })?;
        let (volume, snapshot) = (volume.to_owned(), request.snapshot.clone());
        Ok(Restored { volume, snapshot, kept: Some(kept), restored: true, content })
    }

    /// The undo of a restore. Does nothing when this run did not get as far as keeping the previous content.
    async fn undo_restore(
        &self,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        lock: &VolumeLock,
        stop: &CancellationToken,
    ) -> Result<Restored, EffectError> {
        let not_restored = Restored {
            volume: volume.to_owned(),
            snapshot: request.snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if let Some(unfinished) =
            self.unfinished_copy(&request.snapshot).await?.filter(|copy| copy.run == call.run.as_str())
        {
            self.remove_unfinished(&unfinished).await?;
            return Ok(not_restored);
        }
        let kept = self.api.find(&request.snapshot).await?;
        let is_own = |kept: &EngineVolume| kept.labels.get(labels::RUN).is_some_and(|run| run == call.run.as_str());
        if !kept.as_ref().is_some_and(is_own) {
            return Ok(not_restored);
        }
        let target = self.target_of(volume).await?;
        let in_place = self.can_replace_in_place(request, &target, lock)?;
        match in_place {
            true => self.expect_unused(volume).await?,
            false => self.expect_unmounted(volume).await?,
        }
        let content = self.replace(call, request, &target, &request.snapshot, in_place, stop).await?;
        self.api.remove(&request.snapshot).await?;
        Ok(Restored { restored: true, content, ..not_restored })
    }

    async fn source_of(&self, snapshot: &str) -> Result<EngineVolume, EffectError> {
        let found = self.api.find(snapshot).await?.ok_or_else(|| volume_not_found(snapshot))?;
        self.expect_complete(snapshot).await?;
        Ok(found)
    }

    /// Returns the volume to fill, even when an interrupted restore has already removed it.
    async fn target_of(&self, volume: &str) -> Result<EngineVolume, EffectError> {
        if let Some(found) = self.api.find(volume).await? {
            return Ok(found);
        }
        let kept = self.unfinished_copy(volume).await?.and_then(|copy| copy.kept);
        let Some(kept) = kept else { return Err(volume_not_found(volume)) };
        let kept = self.source_of(&kept).await?;
        // Its labels are lost with it.
        Ok(EngineVolume { name: volume.to_owned(), driver: kept.driver, ..EngineVolume::default() })
    }

    fn can_replace_in_place(
        &self,
        request: &RestoreVolume,
        target: &EngineVolume,
        lock: &VolumeLock,
    ) -> Result<bool, EffectError> {
        let files_reachable = lock.sees_files && has_folder(target) && Path::new(&target.mountpoint).is_dir();
        if !files_reachable && request.way == CopyMethod::Files {
            let message = format!("the files of volume `{}` are not reachable from this machine", target.name);
            return Err(EffectError::new(ErrorKind::Unsupported, message).hint("omit the option `way`").not_applied());
        }
        if !files_reachable && !has_folder(target) {
            let message = format!("volume `{}` has its own driver or options, so it cannot be recreated", target.name);
            return Err(EffectError::new(ErrorKind::Unsupported, message).not_applied());
        }
        Ok(files_reachable && request.way != CopyMethod::Engine)
    }

    /// Keeps the content of the volume as a snapshot, and returns the snapshot's name.
    async fn keep_content(
        &self,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        stop: &CancellationToken,
    ) -> Result<String, EffectError> {
        let mut own_snapshots = snapshots_of(volume);
        own_snapshots.labels.insert(labels::EFFECT.into(), call.effect_id());
        if let Some(kept) = self.list(&own_snapshots).await?.into_iter().next() {
            return Ok(kept.name);
        }
        let existing = self.list(&snapshots_of(volume)).await?;
        let kept = request.backup_name(volume, &existing);
        let (_, at) = snapshot_name(volume, self.client.clock.unix_ms());
        let plan = CopyPlan {
            from: volume.to_owned(),
            to: kept.clone(),
            while_written: WhileWritten::Refuse,
            way: request.way,
            verify: request.verify,
            labels: snapshot_labels(volume, &at).into_iter().collect(),
        };
        call.report_progress(format!("keeping the content of `{volume}` as `{kept}`"));
        self.copy_until(call, plan, stop).await?;
        Ok(kept)
    }

    /// Replaces the content of the volume with a copy of the request's snapshot.
    async fn replace(
        &self,
        call: &Call,
        request: &RestoreVolume,
        target: &EngineVolume,
        kept: &str,
        in_place: bool,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let volume = target.name.as_str();
        call.report_progress(format!("copying `{}` into `{volume}`", request.snapshot));
        let plan = |to: String| CopyPlan {
            from: request.snapshot.clone(),
            to,
            while_written: WhileWritten::Refuse,
            way: request.way,
            verify: request.verify,
            labels: Default::default(),
        };
        if in_place {
            let next = format!("{volume}{NEXT}");
            if let Some(unfinished) = self.unfinished_copy(&next).await? {
                self.remove_unfinished(&unfinished).await?;
            }
            let content = self.copy_until(call, plan(next.clone()), stop).await?;
            // The content that is exchanged and then removed is also kept elsewhere, so a crash in between loses
            // nothing.
            self.mark_unfinished(call, &unfinished_copy(call, &request.snapshot, &next, None)).await?;
            let prepared = self.api.find(&next).await?.ok_or_else(|| volume_not_found(&next))?;
            self.expect_unused(volume).await?;
            exchange_folders(&PathBuf::from(&target.mountpoint), &PathBuf::from(&prepared.mountpoint))?;
            self.api.remove(&next).await?;
            self.mark_finished(&next).await?;
            // Left by an interrupted attempt.
            self.mark_finished(volume).await?;
            return Ok(content);
        }
        self.mark_unfinished(call, &unfinished_copy(call, &request.snapshot, volume, Some(kept))).await?;
        self.remove_copy_containers(volume).await?;
        self.api.remove(volume).await?;
        self.api.create(volume, target.labels.clone()).await?;
        let content = self.copy_through_engine(call, &plan(volume.to_owned()), stop).await?;
        self.mark_finished(volume).await?;
        Ok(content)
    }

    /// Like [`Volumes::copy`], but inside work that has a deadline already.
    async fn copy_until(&self, call: &Call, plan: CopyPlan, stop: &CancellationToken) -> Result<Content, EffectError> {
        let inner = Call { cancel: stop.clone(), ..call.clone() };
        self.copy(&inner, plan, DurationText(NO_TIMEOUT)).await
    }
}

fn unfinished_copy(call: &Call, of: &str, to: &str, kept: Option<&str>) -> UnfinishedCopy {
    UnfinishedCopy {
        of: of.to_owned(),
        to: to.to_owned(),
        run: call.run.to_string(),
        paused: Vec::new(),
        kept: kept.map(str::to_owned),
    }
}
