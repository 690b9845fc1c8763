//! The lock of a service: a claim on a volume. Its number is read from what exists of the service, so that any machine
//! that reaches the engine gives the next one.
//!
//! A lock that is taken away by hand leaves a volume with its number, until something newer of the service carries a
//! greater one: whoever held it may still be somewhere.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::claim::{Claim, Owner, ROLE, Wanted, epoch_of};
use super::error::{About, ask};
use super::{DockerEngine, names, unless_cancelled};
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::lock::{AcquireLock, BreakLock, LockEffect, LockOutcome, LockView, Locked, LookLock, ReleaseLock};
use crate::effect::volume::{ListVolumes, Volume};
use crate::world::Call;
use crate::world::clock::Clock;

pub(super) const PREFIX: &str = "deployer-lock-";
const EPOCH_PREFIX: &str = "deployer-epoch-";
/// The value of [`labels::ROLE`] of a volume that keeps a number.
const EPOCH_ROLE: &str = "epoch";

/// How often a lock that is held is asked for again: often at first.
const FIRST_POLL: Duration = Duration::from_millis(250);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How often the lock is taken anew because its number had become too small meanwhile.
const MOST_ROUNDS: usize = 5;

/// The labels of one thing of a service.
struct Thing {
    labels: BTreeMap<String, String>,
    /// Neither the lock nor what only keeps a number.
    lasts: bool,
}

impl DockerEngine {
    pub(super) async fn lock(&self, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        match effect {
            LockEffect::Acquire(request) => self.acquire(call, request).await.map(LockOutcome::Acquire),
            LockEffect::Release(request) => self.release(call, request).await.map(LockOutcome::Release),
            LockEffect::Look(request) => self.look_lock(request).await.map(LockOutcome::Look),
            LockEffect::Break(request) => self.break_lock(call, request).await.map(LockOutcome::Break),
            LockEffect::List(_) => self.list_locks().await.map(LockOutcome::List),
        }
    }

    async fn acquire(&self, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let mut wanted = wanted(&request.service)?;
        let wait_ms = u64::try_from(request.wait.0.as_millis()).unwrap_or(u64::MAX / 2);
        let end_ms = self.clock.steady_ms().saturating_add(wait_ms);
        let mut poll = FIRST_POLL;
        loop {
            let owner = match self.claim_numbered(call, &mut wanted).await? {
                Claim::Ours { epoch, taken_over_from } => return Ok(Locked { taken_over_from, epoch }),
                Claim::Held(owner) => owner,
            };
            let left = Duration::from_millis(end_ms.saturating_sub(self.clock.steady_ms()));
            if left.is_zero() {
                return Err(self.held_by(&wanted, owner.as_ref()));
            }
            if let Some(owner) = &owner {
                let words = owner.seen_from(&self.holder).words(self.clock.unix_ms());
                call.tell(format!("waiting for the lock of `{}`: {words}", wanted.name));
            }
            let pause = async {
                self.clock.sleep(poll.min(left)).await;
                Ok(())
            };
            unless_cancelled(call, "the wait for the lock", pause).await.map_err(EffectError::not_applied)?;
            poll = (poll * 2).min(LAST_POLL);
        }
    }

    /// One attempt under a number that is greater than any other.
    async fn claim_numbered(&self, call: &Call, wanted: &mut Wanted) -> Result<Claim, EffectError> {
        // Branches of one run are one owner to the volume.
        let _branch = self.alone.lock().await;
        for _ in 0..MOST_ROUNDS {
            wanted.epoch = newest(&self.things(&wanted.name).await?, None).saturating_add(1);
            let (epoch, taken_over_from) = match self.claim(call, wanted, 0).await? {
                Claim::Ours { epoch, taken_over_from } => (epoch, taken_over_from),
                held @ Claim::Held(_) => return Ok(held),
            };
            // Another run may have come and gone since the numbers were read. A lock that was held on is not new.
            if epoch != wanted.epoch || newest(&self.things(&wanted.name).await?, Some(&call.run)) < epoch {
                return Ok(Claim::Ours { epoch, taken_over_from });
            }
            if let Some(owner) = self.owner_of(&wanted.volume).await?.filter(|owner| owner.holder == self.holder) {
                self.take_away_from(call, wanted, &owner).await?;
            }
        }
        Ok(Claim::Held(self.owner_of(&wanted.volume).await?))
    }

    async fn release(&self, call: &Call, request: &ReleaseLock) -> Result<(), EffectError> {
        let wanted = wanted(&request.service)?;
        let Some(owner) = self.owner_of(&wanted.volume).await? else { return Ok(()) };
        let may = owner.holder == self.holder || owner.holder.is_provably_dead(&self.holder);
        if owner.run != call.run || !may {
            return Ok(());
        }
        self.forget_numbers(&wanted.name).await?;
        self.take_away_from(call, &wanted, &owner).await.map(drop)
    }

    async fn break_lock(&self, call: &Call, request: &BreakLock) -> Result<Removed, EffectError> {
        let wanted = wanted(&request.service)?;
        let Some(owner) = self.owner_of(&wanted.volume).await?.filter(|owner| owner.run == request.run) else {
            return Ok(Removed { removed: false });
        };
        self.keep_number(&wanted.name, &owner).await?;
        let removed = self.take_away_from(call, &wanted, &owner).await?;
        Ok(Removed { removed })
    }

    async fn look_lock(&self, request: &LookLock) -> Result<LockView, EffectError> {
        let wanted = wanted(&request.service)?;
        let volumes = self.volumes_of(&wanted.name).await?;
        let lock = volumes.iter().find(|volume| volume.name == wanted.volume);
        let owner = lock.and_then(|volume| Owner::read(|key| volume.labels.get(key)));
        let things = self.with_containers(&wanted.name, volumes).await?;
        Ok(LockView { holder: owner.map(|owner| owner.seen_from(&self.holder)), newest_epoch: newest(&things, None) })
    }

    async fn keep_number(&self, service: &str, owner: &Owner) -> Result<(), EffectError> {
        let labels = [
            (labels::ROLE, EPOCH_ROLE.to_owned()),
            (labels::SERVICE, service.to_owned()),
            (labels::EPOCH, owner.epoch.to_string()),
            (labels::RUN, owner.run.to_string()),
        ];
        let labels: HashMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.make_volume(&format!("{EPOCH_PREFIX}{service}-{}", owner.epoch), labels).await.map(drop)
    }

    /// Removes volumes that keep a number, once something that stays carries a greater one.
    async fn forget_numbers(&self, service: &str) -> Result<(), EffectError> {
        let volumes = self.volumes_of(service).await?;
        let kept: Vec<(String, u64)> = volumes
            .iter()
            .filter(|volume| has_role(&volume.labels, EPOCH_ROLE))
            .map(|volume| (volume.name.clone(), epoch_of(&volume.labels).unwrap_or_default()))
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        let things = self.with_containers(service, volumes).await?;
        let stays: Vec<Thing> = things.into_iter().filter(|thing| thing.lasts).collect();
        let newest = newest(&stays, None);
        for (name, _) in kept.iter().filter(|(_, epoch)| *epoch < newest) {
            self.drop_volume(name).await?;
        }
        Ok(())
    }

    /// Everything of a service that can carry a number.
    async fn things(&self, service: &str) -> Result<Vec<Thing>, EffectError> {
        let volumes = self.volumes_of(service).await?;
        self.with_containers(service, volumes).await
    }

    async fn volumes_of(&self, service: &str) -> Result<Vec<Volume>, EffectError> {
        let labels = BTreeMap::from([(labels::SERVICE.to_owned(), service.to_owned())]);
        self.volumes(&ListVolumes { name: None, labels }).await
    }

    async fn with_containers(&self, service: &str, volumes: Vec<Volume>) -> Result<Vec<Thing>, EffectError> {
        let filters = HashMap::from([("label", vec![format!("{}={service}", labels::SERVICE)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = ask(About::Engine, self.docker.list_containers(Some(options))).await?;
        let containers = containers.into_iter().map(|found| found.labels.unwrap_or_default().into_iter().collect());
        let labels = volumes.into_iter().map(|volume| volume.labels).chain(containers);
        Ok(labels
            .map(|labels| Thing { lasts: !has_role(&labels, ROLE) && !has_role(&labels, EPOCH_ROLE), labels })
            .collect())
    }
}

fn has_role(labels: &BTreeMap<String, String>, role: &str) -> bool {
    labels.get(labels::ROLE).is_some_and(|own| own == role)
}

fn wanted(service: &str) -> Result<Wanted, EffectError> {
    let name = names::plain("service", service)?.to_owned();
    Ok(Wanted { volume: format!("{PREFIX}{name}"), name, epoch: 0 })
}

/// The greatest number, of all things or of those that other runs made.
fn newest(things: &[Thing], but: Option<&RunId>) -> u64 {
    let others = things
        .iter()
        .filter(|thing| but.is_none() || thing.labels.get(labels::RUN).map(String::as_str) != but.map(RunId::as_str));
    others.filter_map(|thing| epoch_of(&thing.labels)).max().unwrap_or_default()
}
