//! Refuses every change, undos included, once the run has lost its lock: it was paused, and another run deploys the
//! service now. Primitives do not check locks themselves.
//!
//! Reading the lock and making the change are two steps. A process that is paused between them and continues later
//! finishes that one change, which carries its old epoch. The next change is refused.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::{Layer, RequestContext};
use crate::base::duration_text::DurationText;
use crate::effect::lock::{
    AcquireLock, InspectLock, LockEffect, LockOutcome, LockView, Locked, ReleaseLock, wait_or_unlock,
};
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome, Request};
use crate::journal::entry::Entry;
use crate::world::clock::Clock;

/// Checks the locks of the run before each change.
pub struct FenceLayer {
    next: Arc<dyn Layer>,
    ledger: Arc<Ledger>,
    locks: Arc<HeldLocks>,
    clock: Arc<dyn Clock>,
}

impl FenceLayer {
    /// Wraps `next`.
    pub(crate) fn new(next: Arc<dyn Layer>, ledger: Arc<Ledger>, locks: Arc<HeldLocks>, clock: Arc<dyn Clock>) -> Self {
        Self { next, ledger, locks, clock }
    }

    async fn acquire(&self, context: &RequestContext, request: &AcquireLock) -> Result<Outcome, EffectError> {
        let wait = DurationText(request.wait.0.max(self.locks.wait()));
        let waiting: Effect = AcquireLock { wait, ..request.clone() }.into();
        let outcome = match self.next.perform(context, &waiting).await {
            Err(error) if error.kind == ErrorKind::Locked => {
                return Err(error.hint(wait_or_unlock(&request.service, &self.flags())));
            }
            result => result?,
        };
        if let Outcome::Lock(LockOutcome::Acquire(locked)) = &outcome {
            if self.was_overtaken(&request.service, locked)? {
                let release: Effect = ReleaseLock { service: request.service.clone() }.into();
                self.next.perform(context, &release).await?;
                return Err(self.overtaken(&request.service));
            }
            self.locks.acquired(&request.service, locked.epoch);
        }
        Ok(outcome)
    }

    /// Returns whether another run has held the lock since an earlier process of this run held it.
    fn was_overtaken(&self, service: &str, locked: &Locked) -> Result<bool, EffectError> {
        if self.locks.epoch(Some(service)).is_some() {
            return Ok(false);
        }
        let mut positions = Vec::new();
        let mut earlier = None;
        for record in self.ledger.journal().records(self.ledger.run())? {
            match record.entry {
                Entry::Intended { intent } if intent.kind == AcquireLock::KIND && intent.subject == service => {
                    positions.push(intent.seq);
                }
                Entry::Completed { seq, outcome, .. } if positions.contains(&seq) => {
                    let epoch = serde_json::from_value::<Locked>(outcome).map(|locked| locked.epoch);
                    earlier = earlier.max(epoch.ok());
                }
                _ => {}
            }
        }
        // The next epoch is still this run's own: its lock was released by `unlock`, and no other run acquired it.
        Ok(earlier.is_some_and(|earlier| locked.epoch > earlier + 1))
    }

    fn overtaken(&self, service: &str) -> EffectError {
        let run = self.ledger.run();
        let message =
            format!("another run has deployed `{service}` since run `{run}` stopped; this command changed nothing");
        let state = self.state_flags();
        EffectError::new(ErrorKind::Conflict, message)
            .hint(format!(
                "see what run `{run}` did: `deployer show {run}{state}`; remove what the newer run does not use, then mark \
                 it as resolved: `deployer resolve --force {run}{state}`"
            ))
            .not_applied()
    }

    /// Checks that this process still holds every lock of the run.
    async fn check(&self, context: &RequestContext, change: &Effect) -> Result<(), EffectError> {
        for (service, epoch) in self.locks.all() {
            let look: Effect = InspectLock { service: service.clone() }.into();
            let seen = self.next.perform(context, &look).await.map_err(EffectError::not_applied)?;
            if let Outcome::Lock(LockOutcome::Inspect(view)) = seen
                && let Some(why) = self.lost(&service, epoch, &view)
            {
                let kind = change.kind();
                let message = format!("this run lost the lock of `{service}`, so `{kind}` was not performed: {why}");
                let state = self.state_flags();
                let hint = match &view.holder {
                    Some(holder) => format!("see what runs now: `deployer show {}{state}`", holder.run),
                    None => format!("see what runs now: `deployer runs{state}`"),
                };
                return Err(EffectError::new(ErrorKind::Locked, message).hint(hint).not_applied());
            }
        }
        Ok(())
    }

    fn lost(&self, service: &str, epoch: u64, view: &LockView) -> Option<String> {
        match &view.holder {
            None => Some("it was released by `deployer unlock`".into()),
            Some(holder) if holder.run != *self.ledger.run() || !holder.is_this_process || holder.epoch != epoch => {
                Some(format!("it is held by {}", holder.describe(self.clock.unix_ms())))
            }
            Some(_) if view.newest_epoch > epoch => Some(format!("a newer run has changed `{service}`")),
            Some(_) => None,
        }
    }

    /// Returns the arguments that select the run's engine and journal.
    fn flags(&self) -> String {
        let state = self.ledger.state();
        let Some(header) = &state.header else { return String::new() };
        format!("{} {}", header.engine_flags, header.state_flags).trim().to_owned()
    }

    fn state_flags(&self) -> String {
        let state = self.ledger.state();
        let flags = state.header.as_ref().map(|header| header.state_flags.as_str()).unwrap_or_default();
        if flags.is_empty() { String::new() } else { format!(" {flags}") }
    }
}

impl Layer for FenceLayer {
    fn perform<'a>(
        &'a self,
        context: &'a RequestContext,
        effect: &'a Effect,
    ) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            match effect {
                Effect::Lock(LockEffect::Acquire(request)) => self.acquire(context, request).await,
                Effect::Lock(LockEffect::Release(request)) => {
                    let outcome = self.next.perform(context, effect).await?;
                    self.locks.released(&request.service);
                    Ok(outcome)
                }
                // A notification changes nothing on the engine, and a run that lost its lock must be able to send one.
                Effect::Notify(_) => self.next.perform(context, effect).await,
                _ if effect.spec().access() == Access::Read => self.next.perform(context, effect).await,
                _ => {
                    self.check(context, effect).await?;
                    self.next.perform(context, effect).await
                }
            }
        })
    }
}
