//! Lists held locks, read from their volumes. Acquires and releases none.

use std::collections::BTreeMap;

use super::{LOCK_PREFIX, Locks};
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::lock::HeldLock;
use crate::effect::volume::{ListVolumes, Volume};
use crate::world::docker::volume_claim::{ClaimOwner, ROLE};

impl Locks {
    pub(super) async fn list(&self) -> Result<Vec<HeldLock>, EffectError> {
        let labels = BTreeMap::from([(labels::ROLE.to_owned(), ROLE.to_owned())]);
        let volumes = self.volumes.list(&ListVolumes { name: None, labels }).await?;
        Ok(volumes.iter().filter_map(|volume| self.held_lock(volume)).collect())
    }

    /// Returns the lock that the volume is. `None` for guards of other work, and for volumes that are not deployer's
    /// locks.
    fn held_lock(&self, volume: &Volume) -> Option<HeldLock> {
        let service = volume.labels.get(labels::SERVICE)?;
        if volume.name.strip_prefix(LOCK_PREFIX) != Some(service) {
            return None;
        }
        let owner = ClaimOwner::from_labels(|key| volume.labels.get(key))?;
        Some(HeldLock { service: service.clone(), holder: owner.seen_from(&self.client.process) })
    }
}
