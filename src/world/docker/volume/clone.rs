//! Copies a volume completely or not at all. Knows nothing of how the bytes are transferred.
//!
//! The work is a task of its own. When the caller gives up, the task still removes the partial copy and unpauses the
//! containers. After a crash, the marker volume tells what to clean up.

use std::collections::{BTreeMap, HashMap};

use tokio_util::sync::CancellationToken;

use super::Volumes;
use super::unfinished::UnfinishedCopy;
use super::users::{VolumeUser, names_of};
use super::volume_lock::VolumeLock;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::volume::{CloneVolume, Content, Copied, CopyMethod, WhileWritten};
use crate::effect::volume::{
    check_copy_names, copy_cancelled, copy_timed_out, volume_exists, volume_has_writers, volume_not_found,
};
use crate::effect::{Applied, EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::names;

/// What to copy, for a clone, a snapshot or a restore.
#[derive(Clone, Debug)]
pub(super) struct CopyPlan {
    pub from: String,
    pub to: String,
    pub while_written: WhileWritten,
    pub way: CopyMethod,
    pub verify: bool,
    pub labels: BTreeMap<String, String>,
}

impl CopyPlan {
    fn labels(&self, call: &Call) -> HashMap<String, String> {
        let call_labels = call.labels().map(|(key, value)| (key.to_owned(), value));
        let copy_of = [(labels::COPY_OF.to_owned(), self.from.clone())];
        self.labels.clone().into_iter().chain(call_labels).chain(copy_of).collect()
    }
}

impl Volumes {
    pub(super) async fn clone_volume(&self, call: &Call, request: &CloneVolume) -> Result<Copied, EffectError> {
        let mut labels = request.labels.clone();
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let plan = CopyPlan {
            from: request.volume.clone(),
            to: request.to.clone(),
            while_written: request.while_written,
            way: request.way,
            verify: request.verify,
            labels,
        };
        let content = self.copy(call, plan, request.timeout).await?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    /// Copies the volume in a task of its own. Nothing of the copy remains when it fails.
    pub(super) async fn copy(
        &self,
        call: &Call,
        plan: CopyPlan,
        timeout: DurationText,
    ) -> Result<Content, EffectError> {
        names::validate("volume", &plan.from)?;
        names::validate("volume", &plan.to)?;
        check_copy_names(&plan.from, &plan.to)?;
        let volumes = self.clone();
        self.run_in_task(call, timeout, move |call, stop| async move {
            let lock = volumes.lock(&call, &plan.to).await?;
            let copied = volumes.copy_locked(&call, &plan, &lock, &stop).await;
            let released = lock.release().await;
            copied.and_then(|content| released.map(|()| content))
        })
        .await
    }

    /// Runs `work` in a task of its own. `work` must end when its token fires: when the caller is dropped, when the
    /// timeout has passed or when the run is cancelled.
    pub(super) async fn run_in_task<T: Send + 'static, F: Future<Output = Result<T, EffectError>> + Send + 'static>(
        &self,
        call: &Call,
        timeout: DurationText,
        work: impl FnOnce(Call, CancellationToken) -> F,
    ) -> Result<T, EffectError> {
        let stop = CancellationToken::new();
        let _stop_on_drop = stop.clone().drop_guard();
        let mut task = tokio::spawn(work(call.clone(), stop.clone()));
        let reason = tokio::select! {
            done = &mut task => return flatten_join(done),
            () = call.cancel.cancelled() => copy_cancelled(),
            () = self.client.clock.sleep(timeout.0) => copy_timed_out(timeout),
        };
        stop.cancel();
        match flatten_join(task.await) {
            // It finished at the last moment.
            Ok(done) => Ok(done),
            Err(error) if error.kind == ErrorKind::Cancelled => Err(EffectError { applied: error.applied, ..reason }),
            Err(error) => Err(error),
        }
    }

    async fn copy_locked(
        &self,
        call: &Call,
        plan: &CopyPlan,
        lock: &VolumeLock,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let Some(source) = self.api.find(&plan.from).await? else {
            return Err(volume_not_found(&plan.from));
        };
        self.expect_complete(&plan.from).await?;
        match (self.api.find(&plan.to).await?, self.unfinished_copy(&plan.to).await?) {
            (_, Some(UnfinishedCopy { kept: Some(_), .. })) => self.expect_complete(&plan.to).await?,
            // Left by a run that was killed: copy again.
            (_, Some(unfinished)) => self.remove_unfinished(&unfinished).await?,
            (Some(existing), None) if existing.labels.get(labels::EFFECT) == Some(&call.effect_id()) => {
                return self.content_of(&existing, lock);
            }
            (Some(_), None) => return Err(volume_exists(&plan.to)),
            (None, None) => {}
        }
        let writers = self.writers(&plan.from).await?;
        let paused: Vec<String> = match plan.while_written {
            WhileWritten::Pause => writers.iter().map(|user| user.id.clone()).collect(),
            WhileWritten::Refuse if !writers.is_empty() => {
                return Err(volume_has_writers(&plan.from, &names_of(&writers)));
            }
            WhileWritten::Refuse | WhileWritten::Allow => Vec::new(),
        };
        if stop.is_cancelled() {
            return Err(EffectError::new(ErrorKind::Cancelled, "the copy was stopped").not_applied());
        }
        let (of, to) = (plan.from.clone(), plan.to.clone());
        let unfinished = UnfinishedCopy { of, to, run: call.run.to_string(), paused, kept: None };
        let copy = async {
            self.mark_unfinished(call, &unfinished).await?;
            if !unfinished.paused.is_empty() {
                self.pause(&writers).await?;
            }
            let target = self.api.create(&plan.to, plan.labels(call)).await?;
            let content = self.fill_volume(call, &source, &target.mountpoint, plan, lock, stop).await;
            // As early as possible, even when the copy failed.
            self.unpause(&unfinished.paused).await?;
            let content = content?;
            if plan.while_written != WhileWritten::Allow {
                let new_writers: Vec<VolumeUser> = self
                    .writers(&plan.from)
                    .await?
                    .into_iter()
                    .filter(|user| !unfinished.paused.contains(&user.id))
                    .collect();
                if !new_writers.is_empty() {
                    return Err(volume_has_writers(&plan.from, &names_of(&new_writers)));
                }
            }
            self.remove_copy_containers(&plan.to).await?;
            self.mark_finished(&plan.to).await?;
            Ok(content)
        };
        match copy.await {
            Ok(content) => Ok(content),
            Err(error) => match self.remove_unfinished(&unfinished).await {
                Ok(()) => Err(error.not_applied()),
                Err(cleanup) => {
                    tracing::warn!(volume = %plan.to, error = %cleanup, "a partial copy could not be removed");
                    Err(EffectError { applied: Applied::Unknown, ..error })
                }
            },
        }
    }

    async fn writers(&self, volume: &str) -> Result<Vec<VolumeUser>, EffectError> {
        Ok(self.users(volume).await?.into_iter().filter(|user| user.is_writer).collect())
    }
}

fn flatten_join<T>(joined: Result<Result<T, EffectError>, tokio::task::JoinError>) -> Result<T, EffectError> {
    joined.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copy failed: {why}"))))
}
