//! Volumes that only one can be the first to make. Knows processes and runs; not what the claim is for.
//!
//! Making a volume that exists returns the labels of whoever made it, in one step: a compare-and-set that needs no
//! image and that every machine sees that can reach the engine.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::DockerEngine;
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::lock::LockHolder;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::holder::Holder;

const ALONE_PREFIX: &str = "deployer-guard-";
/// The value of [`labels::ROLE`] of every such volume.
pub(super) const ROLE: &str = "lock";
const HOST: &str = "deployer.lock.host";
const MACHINE: &str = "deployer.lock.machine";
const PID: &str = "deployer.lock.pid";
const PID_NAMESPACE: &str = "deployer.lock.pidns";
const BOOT: &str = "deployer.lock.boot";
const START: &str = "deployer.lock.start";
const SINCE: &str = "deployer.lock.since";

/// How long, and how often, a piece of work that only one may do is waited for. It is a matter of milliseconds.
const ALONE_WAIT: Duration = Duration::from_secs(20);
const ALONE_POLL: Duration = Duration::from_millis(20);
/// Locks on the taking over of a lock on the taking over ...: each needs one more crash at the worst moment.
const MOST_GUARDS: usize = 3;
/// How often one attempt begins anew because the volume changed hands meanwhile.
const MOST_ROUNDS: usize = 5;

/// What is claimed, and under which number (0 where there is none).
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The service or piece of work, for people.
    pub(super) name: String,
    pub(super) volume: String,
    pub(super) epoch: u64,
}

/// Who made the volume, by its labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    pub(super) run: RunId,
    pub(super) holder: Holder,
    pub(super) since_ms: i64,
    pub(super) epoch: u64,
}

pub(super) enum Claim {
    Ours {
        epoch: u64,
        taken_over_from: Option<RunId>,
    },
    /// None: the volume is not one of deployer's.
    Held(Option<Owner>),
}

impl Owner {
    pub(super) fn read<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<Self> {
        let text = |key: &str| label(key).cloned();
        Some(Self {
            run: label(labels::RUN)?.parse().ok()?,
            holder: Holder {
                host: text(HOST)?,
                machine: text(MACHINE).unwrap_or_default(),
                pid: label(PID)?.parse().ok()?,
                boot_id: text(BOOT)?,
                pid_namespace: text(PID_NAMESPACE)?,
                process_start: label(START)?.parse().ok()?,
            },
            since_ms: label(SINCE)?.parse().ok()?,
            epoch: label(labels::EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or_default(),
        })
    }

    /// As `here` sees it.
    pub(super) fn seen_from(&self, here: &Holder) -> LockHolder {
        LockHolder {
            run: self.run.clone(),
            host: self.holder.host.clone(),
            pid: self.holder.pid,
            since_ms: self.since_ms,
            epoch: self.epoch,
            state: self.holder.state(here),
            is_this_process: self.holder == *here,
        }
    }

    /// The volume that whoever wants to take this owner's volume away must claim first.
    fn guard(&self, volume: &str) -> String {
        format!("{volume}-after-{}-{}-{}", self.run, self.holder.pid, self.holder.process_start)
    }
}

impl DockerEngine {
    /// Does `work` while nobody else does work of that name, in this process or in any other on the same engine.
    pub(super) async fn alone<T>(
        &self,
        call: &Call,
        name: &str,
        work: impl Future<Output = Result<T, EffectError>>,
    ) -> Result<T, EffectError> {
        let wanted = Wanted { name: name.to_owned(), volume: format!("{ALONE_PREFIX}{name}"), epoch: 0 };
        // Two branches of one run are one owner to the volume, so they need a lock of their own.
        let _branch = self.alone.lock().await;
        self.claim_soon(call, &wanted, 0).await?;
        let done = work.await;
        self.drop_volume(&wanted.volume).await?;
        done
    }

    /// Removes the volume if it is still this owner's. False when it is not.
    pub(super) async fn take_away_from(
        &self,
        call: &Call,
        wanted: &Wanted,
        owner: &Owner,
    ) -> Result<bool, EffectError> {
        let guard = Wanted { volume: owner.guard(&wanted.volume), epoch: 0, ..wanted.clone() };
        self.claim_soon(call, &guard, 1).await?;
        let removed = self.remove_if_owned(&wanted.volume, owner).await;
        let dropped = self.drop_volume(&guard.volume).await;
        let removed = removed?;
        dropped.map(|_| removed)
    }

    async fn claim_soon(&self, call: &Call, wanted: &Wanted, depth: usize) -> Result<(), EffectError> {
        let end_ms = self.clock.steady_ms() + ALONE_WAIT.as_millis() as u64;
        while let Claim::Held(owner) = self.claim(call, wanted, depth).await? {
            if self.clock.steady_ms() >= end_ms {
                return Err(self.held_by(wanted, owner.as_ref()));
            }
            self.clock.sleep(ALONE_POLL).await;
        }
        Ok(())
    }

    /// One attempt. The volume of a dead process is removed by whoever holds the guard for exactly that holder, so that
    /// of two who find it dead the slower one cannot remove what the faster one has just made.
    pub(super) fn claim<'a>(
        &'a self,
        call: &'a Call,
        wanted: &'a Wanted,
        depth: usize,
    ) -> BoxFuture<'a, Result<Claim, EffectError>> {
        Box::pin(async move {
            let Wanted { volume, .. } = wanted;
            let mut taken_over_from = None;
            let mut last = None;
            let mut epoch = wanted.epoch;
            for _ in 0..MOST_ROUNDS {
                let made = self.make_volume(volume, self.owner_labels(call, wanted, epoch)).await?;
                let Some(owner) = Owner::read(|key| made.labels.get(key)) else {
                    return Ok(Claim::Held(None));
                };
                if owner.run == call.run && owner.holder == self.holder {
                    return Ok(Claim::Ours { epoch: owner.epoch, taken_over_from });
                }
                if !owner.holder.is_provably_dead(&self.holder) || depth == MOST_GUARDS {
                    return Ok(Claim::Held(Some(owner)));
                }
                let guard = Wanted { volume: owner.guard(volume), epoch: 0, ..wanted.clone() };
                if let Claim::Held(other) = self.claim(call, &guard, depth + 1).await? {
                    return Ok(Claim::Held(other));
                }
                // A run that goes on in another process is the same run.
                epoch = if owner.run == call.run { owner.epoch } else { wanted.epoch };
                let removed = self.remove_if_owned(volume, &owner).await;
                if matches!(removed, Ok(true)) && owner.run != call.run {
                    taken_over_from = Some(owner.run.clone());
                }
                // While the guard is held, so that a later one sees the new volume and not the old one.
                let again = self.make_volume(volume, self.owner_labels(call, wanted, epoch)).await;
                let dropped = self.drop_volume(&guard.volume).await;
                removed?;
                again?;
                dropped?;
                last = Some(owner);
            }
            Ok(Claim::Held(last))
        })
    }

    async fn remove_if_owned(&self, volume: &str, owner: &Owner) -> Result<bool, EffectError> {
        if self.owner_of(volume).await?.as_ref() != Some(owner) {
            return Ok(false);
        }
        self.drop_volume(volume).await
    }

    /// Who made the volume; none when there is none, or when it is not one of deployer's.
    pub(super) async fn owner_of(&self, volume: &str) -> Result<Option<Owner>, EffectError> {
        Ok(self.volume_named(volume).await?.and_then(|found| Owner::read(|key| found.labels.get(key))))
    }

    fn owner_labels(&self, call: &Call, wanted: &Wanted, epoch: u64) -> HashMap<String, String> {
        let Holder { host, machine, pid, boot_id, pid_namespace, process_start } = self.holder.clone();
        let own = [
            (labels::ROLE, ROLE.to_owned()),
            (labels::SERVICE, wanted.name.clone()),
            (HOST, host),
            (MACHINE, machine),
            (PID, pid.to_string()),
            (PID_NAMESPACE, pid_namespace),
            (BOOT, boot_id),
            (START, process_start.to_string()),
            (SINCE, self.clock.unix_ms().to_string()),
        ];
        let mut all: HashMap<String, String> =
            own.into_iter().chain(call.labels()).map(|(key, value)| (key.to_owned(), value)).collect();
        match epoch {
            0 => all.remove(labels::EPOCH),
            epoch => all.insert(labels::EPOCH.to_owned(), epoch.to_string()),
        };
        all
    }

    /// The error for what another one has.
    pub(super) fn held_by(&self, wanted: &Wanted, owner: Option<&Owner>) -> EffectError {
        let Wanted { name, volume, .. } = wanted;
        match owner {
            Some(owner) => owner.seen_from(&self.holder).locked(name, self.clock.unix_ms()),
            None => EffectError::new(
                ErrorKind::Locked,
                format!("`{name}` cannot be locked: the volume `{volume}` is there and is not a lock of deployer's"),
            )
            .hint(format!("if nobody needs it: docker volume rm {volume}"))
            .not_applied(),
        }
    }
}

/// The number that labels carry.
pub(super) fn epoch_of(labels: &BTreeMap<String, String>) -> Option<u64> {
    labels.get(labels::EPOCH)?.parse().ok()
}
