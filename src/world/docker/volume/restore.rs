//! `volume_snapshot` and `volume_restore`: copies with a date, and the way back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::Volume as EngineVolume;
use tokio_util::sync::CancellationToken;

use super::clone::CopyPlan;
use super::fill::has_folder;
use super::hold::Hold;
use super::mark::Mark;
use crate::base::labels;
use crate::effect::volume::{
    Content, CopyWay, RestoreVolume, Restored, Snapshot, SnapshotVolume, WhileWritten, snapshot_labels, snapshot_name,
    snapshots_of,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::{DockerEngine, names};
use crate::world::replica::exchange;

/// Ends the name of the volume that a restored content is made in.
const NEXT: &str = ".next";

impl DockerEngine {
    pub(super) async fn snapshot_volume(
        self: &Arc<Self>,
        call: &Call,
        request: &SnapshotVolume,
    ) -> Result<Snapshot, EffectError> {
        names::plain("volume", &request.volume)?;
        let (name, at) = match self.made_by(call, &request.volume).await? {
            Some(made) => made,
            None => snapshot_name(&request.volume, self.clock.unix_ms()),
        };
        let mut all = request.labels.clone();
        all.extend(snapshot_labels(&request.volume, &at));
        let plan = CopyPlan {
            from: request.volume.clone(),
            to: name.clone(),
            while_written: request.while_written,
            way: request.way,
            verify: request.verify,
            labels: all,
        };
        let content = self.make_copy(call, plan, request.timeout).await?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// The snapshot that this very effect made before a crash.
    async fn made_by(&self, call: &Call, volume: &str) -> Result<Option<(String, String)>, EffectError> {
        let mut wanted = snapshots_of(volume);
        wanted.labels.insert(labels::EFFECT.into(), call.effect_id());
        let found = self.volumes(&wanted).await?.into_iter().next();
        Ok(found.and_then(|snapshot| Some((snapshot.name, snapshot.labels.get(labels::SNAPSHOT_AT)?.clone()))))
    }

    pub(super) async fn restore_volume(
        self: &Arc<Self>,
        call: &Call,
        request: &RestoreVolume,
    ) -> Result<Restored, EffectError> {
        let Some(volume) = request.volume().map(str::to_owned) else {
            let message = format!("`{}` does not say which volume it is a snapshot of", request.snapshot);
            return Err(EffectError::new(ErrorKind::Invalid, message)
                .hint("say it with the option `to`")
                .not_applied());
        };
        names::plain("volume", &request.snapshot)?;
        names::plain("volume", &volume)?;
        let (engine, request) = (self.clone(), request.clone());
        self.in_task(call, request.timeout, move |call, stop| async move {
            let hold = engine.hold_volume(&call, &volume).await?;
            let done = match request.only_own {
                true => engine.put_back(&call, &request, &volume, &hold, &stop).await,
                false => engine.restore_held(&call, &request, &volume, &hold, &stop).await,
            };
            let released = hold.release().await;
            done.and_then(|restored| released.map(|()| restored))
        })
        .await
    }

    async fn restore_held(
        self: &Arc<Self>,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        hold: &Hold,
        stop: &CancellationToken,
    ) -> Result<Restored, EffectError> {
        self.source_of(&request.snapshot).await?;
        let there = self.target_of(volume).await?;
        let by_files = self.restores_by_files(request, &there, hold)?;
        match by_files {
            true => self.expect_unused(volume).await?,
            false => self.expect_unmounted(volume).await?,
        }
        // A volume that is half replaced has nothing that is worth keeping: what it had is kept already.
        let half = self.mark_of(volume).await?;
        let kept = match half.as_ref().and_then(|mark| mark.kept.clone()) {
            Some(kept) => kept,
            None => self.keep(call, request, volume, stop).await?,
        };
        // What it held is kept from here on, and goes back by the undo.
        let content = self.replace(call, request, &there, &kept, by_files, stop).await;
        let content = content.map_err(|error| EffectError { applied: Applied::Unknown, ..error })?;
        let (volume, snapshot) = (volume.to_owned(), request.snapshot.clone());
        Ok(Restored { volume, snapshot, kept: Some(kept), restored: true, content })
    }

    /// The undo: nothing when this run did not come as far as to keep what was there.
    async fn put_back(
        self: &Arc<Self>,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        hold: &Hold,
        stop: &CancellationToken,
    ) -> Result<Restored, EffectError> {
        let nothing = Restored {
            volume: volume.to_owned(),
            snapshot: request.snapshot.clone(),
            kept: None,
            restored: false,
            content: Content::default(),
        };
        if let Some(half) = self.mark_of(&request.snapshot).await?.filter(|half| half.run == call.run.as_str()) {
            self.clear_copy(&half).await?;
            return Ok(nothing);
        }
        let own = self.volume_named(&request.snapshot).await?;
        let is_own = |kept: &EngineVolume| kept.labels.get(labels::RUN).is_some_and(|run| run == call.run.as_str());
        if !own.as_ref().is_some_and(is_own) {
            return Ok(nothing);
        }
        let there = self.target_of(volume).await?;
        let by_files = self.restores_by_files(request, &there, hold)?;
        match by_files {
            true => self.expect_unused(volume).await?,
            false => self.expect_unmounted(volume).await?,
        }
        let content = self.replace(call, request, &there, &request.snapshot, by_files, stop).await?;
        self.drop_volume(&request.snapshot).await?;
        Ok(Restored { restored: true, content, ..nothing })
    }

    async fn source_of(&self, snapshot: &str) -> Result<EngineVolume, EffectError> {
        let found = self.volume_named(snapshot).await?.ok_or_else(|| super::missing_volume(snapshot))?;
        self.expect_whole(snapshot).await?;
        Ok(found)
    }

    /// The volume that is to be filled anew; also one whose replacing was broken off just when it was gone.
    async fn target_of(&self, volume: &str) -> Result<EngineVolume, EffectError> {
        if let Some(found) = self.volume_named(volume).await? {
            return Ok(found);
        }
        let half = self.mark_of(volume).await?.and_then(|mark| mark.kept);
        let Some(kept) = half else { return Err(super::missing_volume(volume)) };
        let kept = self.source_of(&kept).await?;
        // Without the labels that it had, which went with it.
        Ok(EngineVolume { name: volume.to_owned(), driver: kept.driver, ..EngineVolume::default() })
    }

    fn restores_by_files(
        &self,
        request: &RestoreVolume,
        there: &EngineVolume,
        hold: &Hold,
    ) -> Result<bool, EffectError> {
        let can = hold.sees_files && has_folder(there) && Path::new(&there.mountpoint).is_dir();
        if !can && request.way == CopyWay::Files {
            let message = format!("the files of volume `{}` cannot be reached from here", there.name);
            return Err(EffectError::new(ErrorKind::Unsupported, message).hint("leave `way` out").not_applied());
        }
        if !can && !(has_folder(there)) {
            let message =
                format!("volume `{}` has a driver or options of its own, and cannot be made anew", there.name);
            return Err(EffectError::new(ErrorKind::Unsupported, message).not_applied());
        }
        Ok(can && request.way != CopyWay::Engine)
    }

    /// Keeps what the volume holds as a snapshot of its own.
    async fn keep(
        self: &Arc<Self>,
        call: &Call,
        request: &RestoreVolume,
        volume: &str,
        stop: &CancellationToken,
    ) -> Result<String, EffectError> {
        let mut own = snapshots_of(volume);
        own.labels.insert(labels::EFFECT.into(), call.effect_id());
        if let Some(kept) = self.volumes(&own).await?.into_iter().next() {
            return Ok(kept.name);
        }
        let there = self.volumes(&snapshots_of(volume)).await?;
        let kept = request.keeps(volume, &there);
        let (_, at) = snapshot_name(volume, self.clock.unix_ms());
        let plan = CopyPlan {
            from: volume.to_owned(),
            to: kept.clone(),
            while_written: WhileWritten::Refuse,
            way: request.way,
            verify: request.verify,
            labels: snapshot_labels(volume, &at).into_iter().collect(),
        };
        call.tell(format!("keeping what `{volume}` holds as `{kept}`"));
        self.make_copy_until(call, plan, stop).await?;
        Ok(kept)
    }

    /// Puts a copy of the request's snapshot in the place of what the volume holds.
    async fn replace(
        self: &Arc<Self>,
        call: &Call,
        request: &RestoreVolume,
        there: &EngineVolume,
        kept: &str,
        by_files: bool,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let volume = there.name.as_str();
        call.tell(format!("putting `{}` into `{volume}`", request.snapshot));
        let plan = |to: String| CopyPlan {
            from: request.snapshot.clone(),
            to,
            while_written: WhileWritten::Refuse,
            way: request.way,
            verify: request.verify,
            labels: Default::default(),
        };
        if by_files {
            let next = format!("{volume}{NEXT}");
            if let Some(mark) = self.mark_of(&next).await? {
                self.clear_copy(&mark).await?;
            }
            let content = self.make_copy_until(call, plan(next.clone()), stop).await?;
            // What is exchanged and then thrown away is kept elsewhere: a crash in between loses nothing.
            self.set_mark(call, &mark(call, &request.snapshot, &next, None)).await?;
            let made = self.volume_named(&next).await?.ok_or_else(|| super::missing_volume(&next))?;
            self.expect_unused(volume).await?;
            exchange(&PathBuf::from(&there.mountpoint), &PathBuf::from(&made.mountpoint))?;
            self.drop_volume(&next).await?;
            self.drop_mark(&next).await?;
            // Where an earlier attempt was broken off.
            self.drop_mark(volume).await?;
            return Ok(content);
        }
        self.set_mark(call, &mark(call, &request.snapshot, volume, Some(kept))).await?;
        self.remove_copy_containers(volume).await?;
        self.drop_volume(volume).await?;
        self.make_volume(volume, there.labels.clone()).await?;
        let content = self.copy_through_engine(call, &plan(volume.to_owned()), stop).await?;
        self.drop_mark(volume).await?;
        Ok(content)
    }

    /// As [`DockerEngine::make_copy`], inside of work that has a deadline already.
    async fn make_copy_until(
        self: &Arc<Self>,
        call: &Call,
        plan: CopyPlan,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let inner = Call { cancel: stop.clone(), ..call.clone() };
        self.make_copy(&inner, plan, crate::base::duration_text::DurationText(LONG)).await
    }
}

/// Longer than any work that has a deadline of its own.
const LONG: Duration = Duration::from_secs(30 * 24 * 60 * 60);

fn mark(call: &Call, of: &str, to: &str, kept: Option<&str>) -> Mark {
    Mark {
        of: of.to_owned(),
        to: to.to_owned(),
        run: call.run.to_string(),
        paused: Vec::new(),
        kept: kept.map(str::to_owned),
    }
}
