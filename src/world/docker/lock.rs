//! The lock of a service: a labelled volume that only one can be the first to make.
//!
//! Making a volume that exists returns the labels of whoever made it, in one step: a lock that needs no image and
//! that every machine sees that can reach the engine.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{DockerEngine, names, unless_cancelled};
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::lock::{AcquireLock, LockEffect, LockOutcome, Locked, ReleaseLock};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::holder::Holder;

pub(super) const PREFIX: &str = "deployer-lock-";
const ALONE_PREFIX: &str = "deployer-guard-";
pub(super) const ROLE: &str = "lock";
const HOST: &str = "deployer.lock.host";
const PID: &str = "deployer.lock.pid";
const PID_NAMESPACE: &str = "deployer.lock.pidns";
const BOOT: &str = "deployer.lock.boot";
const START: &str = "deployer.lock.start";
const SINCE: &str = "deployer.lock.since";

/// How often a lock that is held is asked for again: often at first.
const FIRST_POLL: Duration = Duration::from_millis(250);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How long, and how often, a piece of work that only one may do is waited for. It is a matter of milliseconds.
const ALONE_WAIT: Duration = Duration::from_secs(20);
const ALONE_POLL: Duration = Duration::from_millis(20);
/// Locks on the taking over of a lock on the taking over ...: each needs one more crash at the worst moment.
const MOST_GUARDS: usize = 3;
/// How often one attempt begins anew because the lock changed hands meanwhile.
const MOST_ROUNDS: usize = 5;

/// Who made the volume, by its labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    pub(super) run: RunId,
    pub(super) holder: Holder,
    pub(super) since_ms: i64,
}

enum Claim {
    Ours {
        taken_over_from: Option<RunId>,
    },
    /// None: the volume is not a lock of deployer's.
    Held(Option<Owner>),
}

impl DockerEngine {
    pub(super) async fn lock(&self, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        match effect {
            LockEffect::Acquire(request) => self.acquire(call, request).await.map(LockOutcome::Acquire),
            LockEffect::Release(request) => self.release(call, request).await.map(LockOutcome::Release),
            LockEffect::List(_) => self.list_locks().await.map(LockOutcome::List),
        }
    }

    async fn acquire(&self, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let service = names::plain("service", &request.service)?;
        let volume = format!("{PREFIX}{service}");
        let end_ms = self.clock.steady_ms() + u64::try_from(request.wait.0.as_millis()).unwrap_or(u64::MAX / 2);
        let mut poll = FIRST_POLL;
        loop {
            let owner = match self.claim(call, service, volume.clone(), 0).await? {
                Claim::Ours { taken_over_from } => return Ok(Locked { taken_over_from }),
                Claim::Held(owner) => owner,
            };
            let left = Duration::from_millis(end_ms.saturating_sub(self.clock.steady_ms()));
            if left.is_zero() {
                return Err(locked(service, &volume, owner.as_ref()));
            }
            if let Some(owner) = &owner {
                call.tell(format!("waiting for run {} to let go of `{service}`", owner.run));
            }
            let pause = async {
                self.clock.sleep(poll.min(left)).await;
                Ok(())
            };
            unless_cancelled(call, "the wait for the lock", pause).await.map_err(EffectError::not_applied)?;
            poll = (poll * 2).min(LAST_POLL);
        }
    }

    /// Does `work` while nobody else does work of that name, in this process or in any other on the same engine.
    pub(super) async fn alone<T>(
        &self,
        call: &Call,
        name: &str,
        work: impl Future<Output = Result<T, EffectError>>,
    ) -> Result<T, EffectError> {
        let volume = format!("{ALONE_PREFIX}{name}");
        // Two branches of one run are one owner to the volume, so they need a lock of their own.
        let _branch = self.alone.lock().await;
        let end_ms = self.clock.steady_ms() + ALONE_WAIT.as_millis() as u64;
        while let Claim::Held(owner) = self.claim(call, name, volume.clone(), 0).await? {
            if self.clock.steady_ms() >= end_ms {
                return Err(locked(name, &volume, owner.as_ref()));
            }
            self.clock.sleep(ALONE_POLL).await;
        }
        let done = work.await;
        self.drop_volume(&volume).await?;
        done
    }

    /// One attempt. The lock of a dead process is removed by whoever holds the guard for exactly that holder, so that
    /// of two who find it dead the slower one cannot remove what the faster one has just made.
    fn claim<'a>(
        &'a self,
        call: &'a Call,
        service: &'a str,
        volume: String,
        depth: usize,
    ) -> BoxFuture<'a, Result<Claim, EffectError>> {
        Box::pin(async move {
            let mut taken_over_from = None;
            let mut last = None;
            for _ in 0..MOST_ROUNDS {
                let made = self.make_volume(&volume, self.owner_labels(call, service)).await?;
                let Some(owner) = read_owner(&made.labels) else {
                    return Ok(Claim::Held(None));
                };
                let is_dead = owner.holder.is_provably_dead(&self.holder);
                if owner.run == call.run && !is_dead {
                    return Ok(Claim::Ours { taken_over_from });
                }
                if !is_dead || depth == MOST_GUARDS {
                    return Ok(Claim::Held(Some(owner)));
                }
                let Holder { pid, process_start, .. } = owner.holder;
                let guard = format!("{volume}-after-{}-{pid}-{process_start}", owner.run);
                if let Claim::Held(other) = self.claim(call, service, guard.clone(), depth + 1).await? {
                    return Ok(Claim::Held(other));
                }
                let removed = self.remove_dead(&volume, &owner).await;
                if matches!(removed, Ok(true)) && owner.run != call.run {
                    taken_over_from = Some(owner.run.clone());
                }
                // While the guard is held, so that a later one sees the new lock and not the old one.
                let again = self.make_volume(&volume, self.owner_labels(call, service)).await;
                let dropped = self.drop_volume(&guard).await;
                removed?;
                again?;
                dropped?;
                last = Some(owner);
            }
            Ok(Claim::Held(last))
        })
    }

    /// Removes the lock if it is still the dead one's.
    async fn remove_dead(&self, volume: &str, dead: &Owner) -> Result<bool, EffectError> {
        let Some(found) = self.volume_named(volume).await? else {
            return Ok(false);
        };
        if read_owner(&found.labels.into_iter().collect()).as_ref() != Some(dead) {
            return Ok(false);
        }
        self.drop_volume(volume).await
    }

    async fn release(&self, call: &Call, request: &ReleaseLock) -> Result<(), EffectError> {
        let volume = format!("{PREFIX}{}", names::plain("service", &request.service)?);
        if let Some(found) = self.volume_named(&volume).await?
            && found.labels.get(labels::RUN).map(String::as_str) == Some(call.run.as_str())
        {
            self.drop_volume(&volume).await?;
        }
        Ok(())
    }

    fn owner_labels(&self, call: &Call, service: &str) -> HashMap<String, String> {
        let Holder { host, pid, boot_id, pid_namespace, process_start } = self.holder.clone();
        let own = [
            (labels::ROLE, ROLE.to_owned()),
            (labels::SERVICE, service.to_owned()),
            (HOST, host),
            (PID, pid.to_string()),
            (PID_NAMESPACE, pid_namespace),
            (BOOT, boot_id),
            (START, process_start.to_string()),
            (SINCE, self.clock.unix_ms().to_string()),
        ];
        own.into_iter().chain(call.labels()).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

pub(super) fn read_owner(labels: &BTreeMap<String, String>) -> Option<Owner> {
    let text = |key: &str| labels.get(key).cloned();
    Some(Owner {
        run: labels.get(labels::RUN)?.parse().ok()?,
        holder: Holder {
            host: text(HOST)?,
            pid: labels.get(PID)?.parse().ok()?,
            boot_id: text(BOOT)?,
            pid_namespace: text(PID_NAMESPACE)?,
            process_start: labels.get(START)?.parse().ok()?,
        },
        since_ms: labels.get(SINCE)?.parse().ok()?,
    })
}

fn locked(service: &str, volume: &str, owner: Option<&Owner>) -> EffectError {
    let Some(Owner { run, holder, since_ms }) = owner else {
        return EffectError::new(
            ErrorKind::Locked,
            format!("`{service}` cannot be locked: the volume `{volume}` is there and is not a lock of deployer's"),
        )
        .hint(format!("if nobody needs it: docker volume rm {volume}"))
        .not_applied();
    };
    let since = jiff::Timestamp::from_millisecond(*since_ms).map_or_else(|_| "unknown".into(), |at| format!("{at:.0}"));
    EffectError::new(
        ErrorKind::Locked,
        format!(
            "`{service}` is locked by run `{run}` (process {} on host `{}`, since {since})",
            holder.pid, holder.host
        ),
    )
    .hint(format!(
        "wait for that run to end, with the option `wait`; if its machine will not come back: docker volume rm {volume}"
    ))
    .not_applied()
}
