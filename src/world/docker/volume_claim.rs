//! Volumes as claims: only the first process that creates a volume owns it. Knows processes and runs, but not what a
//! claim is for.
//!
//! When a volume exists, creating it returns the labels of its creator. That is an atomic compare-and-set which needs
//! no image, and which every machine sees that reaches the engine.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, MutexGuard};

use super::client::EngineClient;
use super::volume_api::VolumeApi;
use crate::base::labels;
use crate::base::run_id::RunId;
use crate::effect::lock::LockHolder;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::process_identity::ProcessIdentity;

const EXCLUSIVE_PREFIX: &str = "deployer-guard-";

/// The value of [`labels::ROLE`] of claimed volumes.
pub(super) const ROLE: &str = "lock";

const HOST: &str = "deployer.lock.host";
const MACHINE: &str = "deployer.lock.machine";
const PID: &str = "deployer.lock.pid";
const PID_NAMESPACE: &str = "deployer.lock.pidns";
const BOOT: &str = "deployer.lock.boot";
const START: &str = "deployer.lock.start";
const SINCE: &str = "deployer.lock.since";

/// How long to wait for exclusive work, and how often to check. Such work takes milliseconds.
const EXCLUSIVE_WAIT: Duration = Duration::from_secs(20);
const EXCLUSIVE_POLL: Duration = Duration::from_millis(20);

/// The depth of guards on taking over a guard. Each level needs another crash at the worst moment.
const GUARD_DEPTH_MAX: usize = 3;

/// How often a claim is retried because the volume changed its owner meanwhile.
const ATTEMPTS_MAX: usize = 5;

/// What to claim, and with which epoch (0 for none).
#[derive(Clone, Debug)]
pub(super) struct ClaimRequest {
    /// The service or the exclusive work, for messages.
    pub(super) name: String,
    pub(super) volume: String,
    pub(super) epoch: u64,
}

/// The owner of a claimed volume, from its labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ClaimOwner {
    pub(super) run: RunId,
    pub(super) holder: ProcessIdentity,
    pub(super) since_ms: i64,
    pub(super) epoch: u64,
}

/// The outcome of a claim.
pub(super) enum ClaimOutcome {
    /// The current process owns the volume.
    Acquired { epoch: u64, taken_over_from: Option<RunId> },
    /// Another process owns the volume. `None` when the volume is not one of deployer's.
    Held(Option<ClaimOwner>),
}

impl ClaimOwner {
    /// Reads the owner from labels. `None` when they are not those of a claim.
    pub(super) fn from_labels<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<Self> {
        let text = |key: &str| label(key).cloned();
        Some(Self {
            run: label(labels::RUN)?.parse().ok()?,
            holder: ProcessIdentity {
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

    /// Returns the holder as the process `here` sees it.
    pub(super) fn seen_from(&self, here: &ProcessIdentity) -> LockHolder {
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

    /// Returns the volume to claim before this owner's volume may be removed.
    fn guard(&self, volume: &str) -> String {
        format!("{volume}-after-{}-{}-{}", self.run, self.holder.pid, self.holder.process_start)
    }
}

/// Claims volumes for the current process.
#[derive(Clone, Debug)]
pub(super) struct VolumeClaims {
    client: Arc<EngineClient>,
    volumes: VolumeApi,
    /// Serializes the branches of this process, which are one owner to the engine.
    branch: Arc<Mutex<()>>,
}

impl VolumeClaims {
    pub(super) fn new(client: Arc<EngineClient>, volumes: VolumeApi) -> Self {
        Self { client, volumes, branch: Arc::default() }
    }

    /// Waits until no other branch of this process is in a critical section.
    pub(super) async fn lock_branch(&self) -> MutexGuard<'_, ()> {
        self.branch.lock().await
    }

    /// Does `work` while no other work of that name runs, in this process or any other on the same engine.
    pub(super) async fn exclusively<T>(
        &self,
        call: &Call,
        name: &str,
        work: impl Future<Output = Result<T, EffectError>>,
    ) -> Result<T, EffectError> {
        let request = ClaimRequest { name: name.to_owned(), volume: format!("{EXCLUSIVE_PREFIX}{name}"), epoch: 0 };
        // The branches of one run are one owner to the engine, so they need a lock of their own.
        let _branch = self.lock_branch().await;
        self.wait_for_claim(call, &request, 0).await?;
        let result = work.await;
        self.volumes.remove(&request.volume).await?;
        result
    }

    /// Removes the volume if it still belongs to this owner. Returns false when it does not.
    pub(super) async fn remove_owned(
        &self,
        call: &Call,
        request: &ClaimRequest,
        owner: &ClaimOwner,
    ) -> Result<bool, EffectError> {
        let guard = ClaimRequest { volume: owner.guard(&request.volume), epoch: 0, ..request.clone() };
        self.wait_for_claim(call, &guard, 1).await?;
        let removed = self.remove_if_owned(&request.volume, owner).await;
        let dropped = self.volumes.remove(&guard.volume).await;
        let removed = removed?;
        dropped.map(|_| removed)
    }

    async fn wait_for_claim(&self, call: &Call, request: &ClaimRequest, depth: usize) -> Result<(), EffectError> {
        let end_ms = self.client.clock.steady_ms() + EXCLUSIVE_WAIT.as_millis() as u64;
        while let ClaimOutcome::Held(owner) = self.claim(call, request, depth).await? {
            if self.client.clock.steady_ms() >= end_ms {
                return Err(self.held_error(request, owner.as_ref()));
            }
            self.client.clock.sleep(EXCLUSIVE_POLL).await;
        }
        Ok(())
    }

    /// Makes one attempt to claim a volume. The volume of a dead process may be removed only by the process that holds
    /// the guard for exactly that owner. So of two processes that find it dead, the slower one cannot remove what the
    /// faster one has just created.
    pub(super) fn claim<'a>(
        &'a self,
        call: &'a Call,
        request: &'a ClaimRequest,
        depth: usize,
    ) -> BoxFuture<'a, Result<ClaimOutcome, EffectError>> {
        Box::pin(async move {
            let ClaimRequest { volume, .. } = request;
            let mut taken_over_from = None;
            let mut last_owner = None;
            let mut epoch = request.epoch;
            for _ in 0..ATTEMPTS_MAX {
                let created = self.volumes.create(volume, self.owner_labels(call, request, epoch)).await?;
                let Some(owner) = ClaimOwner::from_labels(|key| created.labels.get(key)) else {
                    return Ok(ClaimOutcome::Held(None));
                };
                if owner.run == call.run && owner.holder == self.client.process {
                    return Ok(ClaimOutcome::Acquired { epoch: owner.epoch, taken_over_from });
                }
                if !owner.holder.is_provably_dead(&self.client.process) || depth == GUARD_DEPTH_MAX {
                    return Ok(ClaimOutcome::Held(Some(owner)));
                }
                let guard = ClaimRequest { volume: owner.guard(volume), epoch: 0, ..request.clone() };
                if let ClaimOutcome::Held(other) = self.claim(call, &guard, depth + 1).await? {
                    return Ok(ClaimOutcome::Held(other));
                }
                // A resumed run in another process is the same run.
                epoch = if owner.run == call.run { owner.epoch } else { request.epoch };
                let removed = self.remove_if_owned(volume, &owner).await;
                if matches!(removed, Ok(true)) && owner.run != call.run {
                    taken_over_from = Some(owner.run.clone());
                }
                // Create it while the guard is held, so that a later process sees the new volume and not the old one.
                let recreated = self.volumes.create(volume, self.owner_labels(call, request, epoch)).await;
                let dropped = self.volumes.remove(&guard.volume).await;
                removed?;
                recreated?;
                dropped?;
                last_owner = Some(owner);
            }
            Ok(ClaimOutcome::Held(last_owner))
        })
    }

    async fn remove_if_owned(&self, volume: &str, owner: &ClaimOwner) -> Result<bool, EffectError> {
        if self.owner_of(volume).await?.as_ref() != Some(owner) {
            return Ok(false);
        }
        self.volumes.remove(volume).await
    }

    /// Returns the owner of the volume. `None` when it does not exist or is not one of deployer's.
    pub(super) async fn owner_of(&self, volume: &str) -> Result<Option<ClaimOwner>, EffectError> {
        Ok(self.volumes.find(volume).await?.and_then(|found| ClaimOwner::from_labels(|key| found.labels.get(key))))
    }

    fn owner_labels(&self, call: &Call, request: &ClaimRequest, epoch: u64) -> HashMap<String, String> {
        let ProcessIdentity { host, machine, pid, boot_id, pid_namespace, process_start } = self.client.process.clone();
        let claim_labels = [
            (labels::ROLE, ROLE.to_owned()),
            (labels::SERVICE, request.name.clone()),
            (HOST, host),
            (MACHINE, machine),
            (PID, pid.to_string()),
            (PID_NAMESPACE, pid_namespace),
            (BOOT, boot_id),
            (START, process_start.to_string()),
            (SINCE, self.client.clock.unix_ms().to_string()),
        ];
        let mut all: HashMap<String, String> =
            claim_labels.into_iter().chain(call.labels()).map(|(key, value)| (key.to_owned(), value)).collect();
        match epoch {
            0 => all.remove(labels::EPOCH),
            epoch => all.insert(labels::EPOCH.to_owned(), epoch.to_string()),
        };
        all
    }

    /// Returns the error for a volume that another process owns.
    pub(super) fn held_error(&self, request: &ClaimRequest, owner: Option<&ClaimOwner>) -> EffectError {
        let ClaimRequest { name, volume, .. } = request;
        match owner {
            Some(owner) => owner.seen_from(&self.client.process).locked(name, self.client.clock.unix_ms()),
            None => EffectError::new(
                ErrorKind::Locked,
                format!("`{name}` cannot be locked: the volume `{volume}` exists but is not one of deployer's locks"),
            )
            .hint(format!("if it is not needed, remove it: docker volume rm {volume}"))
            .not_applied(),
        }
    }
}

/// Returns the epoch in the labels.
pub(super) fn epoch_of(labels: &BTreeMap<String, String>) -> Option<u64> {
    labels.get(labels::EPOCH)?.parse().ok()
}
