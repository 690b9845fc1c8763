//! The lock of a service: a claimed volume. Its epoch follows the greatest epoch of the service's objects, so that any
//! machine that reaches the engine gives the next one.
//!
//! A lock that an operator breaks leaves a volume with its epoch, until something newer of the service has a greater
//! one: its holder may still be running.

mod list;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::client::{EngineClient, unless_cancelled};
use super::error::{Subject, await_reply};
use super::names;
use super::volume::Volumes;
use super::volume_api::VolumeApi;
use super::volume_claim::{ClaimOutcome, ClaimOwner, ClaimRequest, ROLE, VolumeClaims, epoch_of};
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::lock::{
    AcquireLock, BreakLock, InspectLock, LockEffect, LockOutcome, LockView, Locked, ReleaseLock, next_epoch,
};
use crate::effect::volume::{ListVolumes, Volume};
use crate::world::Call;
use crate::world::clock::Clock;

const LOCK_PREFIX: &str = "deployer-lock-";
const EPOCH_PREFIX: &str = "deployer-epoch-";
/// The value of [`labels::ROLE`] of a volume that keeps an epoch.
const EPOCH_ROLE: &str = "epoch";

/// How often to ask for a held lock: more often at first.
const FIRST_POLL: Duration = Duration::from_millis(250);
const LAST_POLL: Duration = Duration::from_secs(1);
/// How often the lock is claimed again because its epoch was no longer the greatest.
const ATTEMPTS_MAX: usize = 5;

/// The labels of one object of a service.
struct LabeledObject {
    labels: BTreeMap<String, String>,
    /// Neither a lock nor a volume that only keeps an epoch.
    is_permanent: bool,
}

/// Performs lock effects.
#[derive(Clone, Debug)]
pub(super) struct Locks {
    client: Arc<EngineClient>,
    volumes: Volumes,
    api: VolumeApi,
    claims: VolumeClaims,
}

impl Locks {
    pub(super) fn new(client: Arc<EngineClient>, volumes: Volumes, api: VolumeApi, claims: VolumeClaims) -> Self {
        Self { client, volumes, api, claims }
    }

    pub(super) async fn perform(&self, call: &Call, effect: &LockEffect) -> Result<LockOutcome, EffectError> {
        match effect {
            LockEffect::Acquire(request) => self.acquire(call, request).await.map(LockOutcome::Acquire),
            LockEffect::Release(request) => self.release(call, request).await.map(LockOutcome::Release),
            LockEffect::Inspect(request) => self.inspect(request).await.map(LockOutcome::Inspect),
            LockEffect::Break(request) => self.break_lock(call, request).await.map(LockOutcome::Break),
            LockEffect::List(_) => self.list().await.map(LockOutcome::List),
        }
    }

    async fn acquire(&self, call: &Call, request: &AcquireLock) -> Result<Locked, EffectError> {
        let mut claim = claim_request(&request.service)?;
        let wait_ms = u64::try_from(request.wait.0.as_millis()).unwrap_or(u64::MAX / 2);
        let end_ms = self.client.clock.steady_ms().saturating_add(wait_ms);
        let mut poll = FIRST_POLL;
        loop {
            let owner = match self.claim_next_epoch(call, &mut claim).await? {
                ClaimOutcome::Acquired { epoch, taken_over_from } => return Ok(Locked { taken_over_from, epoch }),
                ClaimOutcome::Held(owner) => owner,
            };
            let remaining = Duration::from_millis(end_ms.saturating_sub(self.client.clock.steady_ms()));
            if remaining.is_zero() {
                return Err(self.claims.held_error(&claim, owner.as_ref()));
            }
            if let Some(owner) = &owner {
                let holder = owner.seen_from(&self.client.process).describe(self.client.clock.unix_ms());
                call.report_progress(format!("waiting for the lock of `{}`: {holder}", claim.name));
            }
            let pause = async {
                self.client.clock.sleep(poll.min(remaining)).await;
                Ok(())
            };
            unless_cancelled(call, "the wait for the lock", pause).await.map_err(EffectError::not_applied)?;
            poll = (poll * 2).min(LAST_POLL);
        }
    }

    /// Makes one attempt with an epoch that is greater than any other.
    async fn claim_next_epoch(&self, call: &Call, claim: &mut ClaimRequest) -> Result<ClaimOutcome, EffectError> {
        // The branches of one run are one owner to the engine.
        let _branch = self.claims.lock_branch().await;
        for _ in 0..ATTEMPTS_MAX {
            let newest = newest_epoch(&self.objects(&claim.name).await?, None);
            claim.epoch = next_epoch(newest, self.client.clock.unix_ms());
            let (epoch, taken_over_from) = match self.claims.claim(call, claim, 0).await? {
                ClaimOutcome::Acquired { epoch, taken_over_from } => (epoch, taken_over_from),
                held @ ClaimOutcome::Held(_) => return Ok(held),
            };
            // Another run may have held the lock since the epochs were read. A lock that this run already held is not
            // new.
            if epoch != claim.epoch || newest_epoch(&self.objects(&claim.name).await?, Some(&call.run)) < epoch {
                return Ok(ClaimOutcome::Acquired { epoch, taken_over_from });
            }
            if let Some(owner) =
                self.claims.owner_of(&claim.volume).await?.filter(|owner| owner.holder == self.client.process)
            {
                self.claims.remove_owned(call, claim, &owner).await?;
            }
        }
        Ok(ClaimOutcome::Held(self.claims.owner_of(&claim.volume).await?))
    }

    async fn release(&self, call: &Call, request: &ReleaseLock) -> Result<(), EffectError> {
        let claim = claim_request(&request.service)?;
        let Some(owner) = self.claims.owner_of(&claim.volume).await? else { return Ok(()) };
        let may_release = owner.holder == self.client.process || owner.holder.is_provably_dead(&self.client.process);
        if owner.run != call.run || !may_release {
            return Ok(());
        }
        self.remove_kept_epochs(&claim.name).await?;
        self.claims.remove_owned(call, &claim, &owner).await.map(drop)
    }

    async fn break_lock(&self, call: &Call, request: &BreakLock) -> Result<Removed, EffectError> {
        let claim = claim_request(&request.service)?;
        let Some(owner) = self.claims.owner_of(&claim.volume).await?.filter(|owner| owner.run == request.run) else {
            return Ok(Removed { removed: false });
        };
        self.keep_epoch(&claim.name, &owner).await?;
        let removed = self.claims.remove_owned(call, &claim, &owner).await?;
        Ok(Removed { removed })
    }

    async fn inspect(&self, request: &InspectLock) -> Result<LockView, EffectError> {
        let claim = claim_request(&request.service)?;
        let volumes = self.volumes_of(&claim.name).await?;
        let lock = volumes.iter().find(|volume| volume.name == claim.volume);
        let owner = lock.and_then(|volume| ClaimOwner::from_labels(|key| volume.labels.get(key)));
        let objects = self.with_containers(&claim.name, volumes).await?;
        Ok(LockView {
            holder: owner.map(|owner| owner.seen_from(&self.client.process)),
            newest_epoch: newest_epoch(&objects, None),
        })
    }

    async fn keep_epoch(&self, service: &str, owner: &ClaimOwner) -> Result<(), EffectError> {
        let labels = [
            (labels::ROLE, EPOCH_ROLE.to_owned()),
            (labels::SERVICE, service.to_owned()),
            (labels::EPOCH, owner.epoch.to_string()),
            (labels::RUN, owner.run.to_string()),
        ];
        let labels: HashMap<String, String> = labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        self.api.create(&format!("{EPOCH_PREFIX}{service}-{}", owner.epoch), labels).await.map(drop)
    }

    /// Removes volumes that keep an epoch, once a permanent object has a greater one.
    async fn remove_kept_epochs(&self, service: &str) -> Result<(), EffectError> {
        let volumes = self.volumes_of(service).await?;
        let kept: Vec<(String, u64)> = volumes
            .iter()
            .filter(|volume| has_role(&volume.labels, EPOCH_ROLE))
            .map(|volume| (volume.name.clone(), epoch_of(&volume.labels).unwrap_or_default()))
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        let objects = self.with_containers(service, volumes).await?;
        let permanent: Vec<LabeledObject> = objects.into_iter().filter(|object| object.is_permanent).collect();
        let newest = newest_epoch(&permanent, None);
        for (name, _) in kept.iter().filter(|(_, epoch)| *epoch < newest) {
            self.api.remove(name).await?;
        }
        Ok(())
    }

    /// Lists all objects of a service that can carry an epoch.
    async fn objects(&self, service: &str) -> Result<Vec<LabeledObject>, EffectError> {
        let volumes = self.volumes_of(service).await?;
        self.with_containers(service, volumes).await
    }

    async fn volumes_of(&self, service: &str) -> Result<Vec<Volume>, EffectError> {
        let labels = BTreeMap::from([(labels::SERVICE.to_owned(), service.to_owned())]);
        self.volumes.list(&ListVolumes { name: None, labels }).await
    }

    async fn with_containers(&self, service: &str, volumes: Vec<Volume>) -> Result<Vec<LabeledObject>, EffectError> {
        let filters = HashMap::from([("label", vec![format!("{}={service}", labels::SERVICE)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
        let containers = containers.into_iter().map(|found| found.labels.unwrap_or_default().into_iter().collect());
        let labels = volumes.into_iter().map(|volume| volume.labels).chain(containers);
        Ok(labels
            .map(|labels| LabeledObject {
                is_permanent: !has_role(&labels, ROLE) && !has_role(&labels, EPOCH_ROLE),
                labels,
            })
            .collect())
    }
}

fn has_role(labels: &BTreeMap<String, String>, role: &str) -> bool {
    labels.get(labels::ROLE).is_some_and(|value| value == role)
}

fn claim_request(service: &str) -> Result<ClaimRequest, EffectError> {
    let name = names::validate("service", service)?.to_owned();
    Ok(ClaimRequest { volume: format!("{LOCK_PREFIX}{name}"), name, epoch: 0 })
}

/// Returns the greatest epoch, of all objects or of those that other runs created.
fn newest_epoch(objects: &[LabeledObject], except: Option<&RunId>) -> u64 {
    let others = objects.iter().filter(|object| {
        except.is_none() || object.labels.get(labels::RUN).map(String::as_str) != except.map(RunId::as_str)
    });
    others.filter_map(|object| epoch_of(&object.labels)).max().unwrap_or_default()
}
