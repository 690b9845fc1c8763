//! Making a copy of a volume: whole, or not there. Knows nothing of how the bytes travel.
//!
//! The work is a task of its own: whoever asked may give up at any time, and the half copy is still taken away and the
//! halted containers still go on. After a crash the mark tells what to take away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::hold::Hold;
use super::mark::Mark;
use super::users::{User, written};
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::volume::{CloneVolume, Content, Copied, CopyWay, WhileWritten};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::{DockerEngine, names};

/// What is to be copied, whoever asks for it.
#[derive(Clone, Debug)]
pub(super) struct CopyPlan {
    pub from: String,
    pub to: String,
    pub while_written: WhileWritten,
    pub way: CopyWay,
    pub verify: bool,
    pub labels: BTreeMap<String, String>,
}

impl CopyPlan {
    fn labels(&self, call: &Call) -> HashMap<String, String> {
        let own = call.labels().map(|(key, value)| (key.to_owned(), value));
        let of = [(labels::COPY_OF.to_owned(), self.from.clone())];
        self.labels.clone().into_iter().chain(own).chain(of).collect()
    }
}

impl DockerEngine {
    pub(super) async fn clone_volume(
        self: &Arc<Self>,
        call: &Call,
        request: &CloneVolume,
    ) -> Result<Copied, EffectError> {
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
        let content = self.make_copy(call, plan, request.timeout).await?;
        Ok(Copied { name: request.to.clone(), of: request.volume.clone(), content })
    }

    /// Makes the copy in a task of its own, and nothing of it stays when it fails.
    pub(super) async fn make_copy(
        self: &Arc<Self>,
        call: &Call,
        plan: CopyPlan,
        timeout: DurationText,
    ) -> Result<Content, EffectError> {
        names::plain("volume", &plan.from)?;
        names::plain("volume", &plan.to)?;
        if plan.from == plan.to {
            let message = format!("volume `{}` cannot be copied into itself", plan.from);
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let engine = self.clone();
        self.in_task(call, timeout, move |call, stop| async move {
            let hold = engine.hold_volume(&call, &plan.to).await?;
            let made = engine.copy_held(&call, &plan, &hold, &stop).await;
            let released = hold.release().await;
            made.and_then(|content| released.map(|()| content))
        })
        .await
    }

    /// Work that is told to stop when nobody waits for it any more, when its time is over or when the run is
    /// cancelled, and that ends by itself then.
    pub(super) async fn in_task<T: Send + 'static, F: Future<Output = Result<T, EffectError>> + Send + 'static>(
        self: &Arc<Self>,
        call: &Call,
        timeout: DurationText,
        work: impl FnOnce(Call, CancellationToken) -> F,
    ) -> Result<T, EffectError> {
        let stop = CancellationToken::new();
        let _given_up = stop.clone().drop_guard();
        let mut task = tokio::spawn(work(call.clone(), stop.clone()));
        let late = tokio::select! {
            done = &mut task => return joined(done),
            () = call.cancel.cancelled() => EffectError::new(ErrorKind::Cancelled, "the copying was cancelled"),
            () = self.clock.sleep(timeout.0) => {
                EffectError::new(ErrorKind::Timeout, format!("the copying did not end within {timeout}"))
                    .hint("give it more time with the option `timeout`")
            }
        };
        stop.cancel();
        match joined(task.await) {
            // It was done just then.
            Ok(done) => Ok(done),
            Err(error) if error.kind == ErrorKind::Cancelled => Err(EffectError { applied: error.applied, ..late }),
            Err(error) => Err(error),
        }
    }

    async fn copy_held(
        self: &Arc<Self>,
        call: &Call,
        plan: &CopyPlan,
        hold: &Hold,
        stop: &CancellationToken,
    ) -> Result<Content, EffectError> {
        let Some(source) = self.volume_named(&plan.from).await? else {
            return Err(super::missing_volume(&plan.from));
        };
        self.expect_whole(&plan.from).await?;
        match (self.volume_named(&plan.to).await?, self.mark_of(&plan.to).await?) {
            (_, Some(Mark { kept: Some(_), .. })) => self.expect_whole(&plan.to).await?,
            // Of a run that was killed: made anew.
            (_, Some(mark)) => self.clear_copy(&mark).await?,
            (Some(there), None) if there.labels.get(labels::EFFECT) == Some(&call.effect_id()) => {
                return self.content_of(&there, hold);
            }
            (Some(_), None) => return Err(taken(&plan.to)),
            (None, None) => {}
        }
        let writers = self.writers(&plan.from).await?;
        let paused: Vec<String> = match plan.while_written {
            WhileWritten::Pause => writers.iter().map(|user| user.id.clone()).collect(),
            WhileWritten::Refuse if !writers.is_empty() => return Err(written(&plan.from, &writers)),
            WhileWritten::Refuse | WhileWritten::Allow => Vec::new(),
        };
        if stop.is_cancelled() {
            return Err(EffectError::new(ErrorKind::Cancelled, "the copying was stopped").not_applied());
        }
        let (of, to) = (plan.from.clone(), plan.to.clone());
        let mark = Mark { of, to, run: call.run.to_string(), paused, kept: None };
        let made = async {
            self.set_mark(call, &mark).await?;
            if !mark.paused.is_empty() {
                self.pause(&writers).await?;
            }
            let target = self.make_volume(&plan.to, plan.labels(call)).await?;
            let content = self.fill(call, &source, &target.mountpoint, plan, hold, stop).await;
            // As soon as it can be, whatever came of it.
            self.unpause(&mark.paused).await?;
            let content = content?;
            if plan.while_written != WhileWritten::Allow {
                let late: Vec<User> = self
                    .writers(&plan.from)
                    .await?
                    .into_iter()
                    .filter(|user| !mark.paused.contains(&user.id))
                    .collect();
                if !late.is_empty() {
                    return Err(written(&plan.from, &late));
                }
            }
            self.remove_copy_containers(&plan.to).await?;
            self.drop_mark(&plan.to).await?;
            Ok(content)
        };
        match made.await {
            Ok(content) => Ok(content),
            Err(error) => match self.clear_copy(&mark).await {
                Ok(()) => Err(error.not_applied()),
                Err(left) => {
                    tracing::warn!(volume = %plan.to, error = %left, "a half copy is left behind");
                    Err(EffectError { applied: crate::effect::Applied::Unknown, ..error })
                }
            },
        }
    }

    async fn writers(&self, volume: &str) -> Result<Vec<User>, EffectError> {
        Ok(self.users_of(volume).await?.into_iter().filter(|user| user.writes).collect())
    }
}

fn joined<T>(ended: Result<Result<T, EffectError>, tokio::task::JoinError>) -> Result<T, EffectError> {
    ended.unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the copying broke off: {why}"))))
}

fn taken(volume: &str) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("there is a volume `{volume}` already"))
        .hint(format!("choose another name, or remove it: docker volume rm {volume}"))
        .not_applied()
}
