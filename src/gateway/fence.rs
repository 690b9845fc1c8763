//! Keeps a run that has lost its lock from changing anything, taking back included: it was paused, and another run has
//! the service by now. The one place that knows what a lock is for; no primitive asks for itself.
//!
//! The look at the lock and the change are two steps. A process that stops between the two and goes on later finishes
//! that one change, which carries its old epoch; it gets no further.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::held_locks::HeldLocks;
use super::ledger::Ledger;
use super::{Door, Ticket};
use crate::base::duration_text::DurationText;
use crate::effect::lock::{
    AcquireLock, LockEffect, LockOutcome, LockView, Locked, LookLock, ReleaseLock, wait_or_unlock,
};
use crate::effect::{Access, Effect, EffectError, ErrorKind, Outcome, Request};
use crate::journal::entry::Entry;
use crate::world::clock::Clock;

pub struct Fence {
    next: Arc<dyn Door>,
    ledger: Arc<Ledger>,
    locks: Arc<HeldLocks>,
    clock: Arc<dyn Clock>,
}

impl Fence {
    pub fn new(next: Arc<dyn Door>, ledger: Arc<Ledger>, locks: Arc<HeldLocks>, clock: Arc<dyn Clock>) -> Self {
        Self { next, ledger, locks, clock }
    }

    async fn acquire(&self, ticket: &Ticket, request: &AcquireLock) -> Result<Outcome, EffectError> {
        let wait = DurationText(request.wait.0.max(self.locks.wait()));
        let waiting: Effect = AcquireLock { wait, ..request.clone() }.into();
        let outcome = match self.next.perform(ticket, &waiting).await {
            Err(error) if error.kind == ErrorKind::Locked => {
                return Err(error.hint(wait_or_unlock(&request.service, &self.flags())));
            }
            result => result?,
        };
        if let Outcome::Lock(LockOutcome::Acquire(locked)) = &outcome {
            if self.was_overtaken(&request.service, locked)? {
                let release: Effect = ReleaseLock { service: request.service.clone() }.into();
                self.next.perform(ticket, &release).await?;
                return Err(self.overtaken(&request.service));
            }
            self.locks.took(&request.service, locked.epoch);
        }
        Ok(outcome)
    }

    /// Whether another run has had the lock since this run, in an earlier process, had it.
    fn was_overtaken(&self, service: &str, locked: &Locked) -> Result<bool, EffectError> {
        if self.locks.epoch(Some(service)).is_some() {
            return Ok(false);
        }
        let mut places = Vec::new();
        let mut earlier = None;
        for record in self.ledger.journal().records(self.ledger.run())? {
            match record.entry {
                Entry::Intended { intent } if intent.kind == AcquireLock::KIND && intent.subject == service => {
                    places.push(intent.seq);
                }
                Entry::Completed { seq, outcome, .. } if places.contains(&seq) => {
                    let epoch = serde_json::from_value::<Locked>(outcome).map(|locked| locked.epoch);
                    earlier = earlier.max(epoch.ok());
                }
                _ => {}
            }
        }
        // The next number is this run's own again, when its lock was taken away and nobody came.
        Ok(earlier.is_some_and(|earlier| locked.epoch > earlier + 1))
    }

    fn overtaken(&self, service: &str) -> EffectError {
        let run = self.ledger.run();
        let message =
            format!("another run has deployed `{service}` since run `{run}` stopped; nothing was changed now");
        EffectError::new(ErrorKind::Conflict, message)
            .hint(format!("see what run `{run}` has done: `deployer show {run}{}`", self.state_flags()))
            .not_applied()
    }

    /// Every lock of the run must be the run's own still, as held by this process.
    async fn check(&self, ticket: &Ticket, change: &Effect) -> Result<(), EffectError> {
        for (service, epoch) in self.locks.all() {
            let look: Effect = LookLock { service: service.clone() }.into();
            let seen = self.next.perform(ticket, &look).await.map_err(EffectError::not_applied)?;
            if let Outcome::Lock(LockOutcome::Look(view)) = seen
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
            None => Some("it was taken away by `deployer unlock`".into()),
            Some(holder) if holder.run != *self.ledger.run() || !holder.is_this_process || holder.epoch != epoch => {
                Some(format!("it is held by {}", holder.words(self.clock.unix_ms())))
            }
            Some(_) if view.newest_epoch > epoch => Some(format!("a newer run has changed `{service}`")),
            Some(_) => None,
        }
    }

    /// Arguments that lead to the run's engine and journal.
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

impl Door for Fence {
    fn perform<'a>(&'a self, ticket: &'a Ticket, effect: &'a Effect) -> BoxFuture<'a, Result<Outcome, EffectError>> {
        Box::pin(async move {
            match effect {
                Effect::Lock(LockEffect::Acquire(request)) => self.acquire(ticket, request).await,
                Effect::Lock(LockEffect::Release(request)) => {
                    let outcome = self.next.perform(ticket, effect).await?;
                    self.locks.let_go(&request.service);
                    Ok(outcome)
                }
                // To tell people changes nothing of the service; that a run was stopped must be told too.
                Effect::Notify(_) => self.next.perform(ticket, effect).await,
                _ if effect.facts().access() == Access::Read => self.next.perform(ticket, effect).await,
                _ => {
                    self.check(ticket, effect).await?;
                    self.next.perform(ticket, effect).await
                }
            }
        })
    }
}
