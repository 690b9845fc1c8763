//! Who holds which lock, read from the volumes that locks are. Takes and removes none.

use std::collections::BTreeMap;

use super::DockerEngine;
use super::claim::{Owner, ROLE};
use super::lock::PREFIX;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::lock::HeldLock;
use crate::effect::volume::{ListVolumes, Volume};

impl DockerEngine {
    pub(super) async fn list_locks(&self) -> Result<Vec<HeldLock>, EffectError> {
        let wanted = BTreeMap::from([(labels::ROLE.to_owned(), ROLE.to_owned())]);
        let volumes = self.volumes(&ListVolumes { name: None, labels: wanted }).await?;
        Ok(volumes.iter().filter_map(|volume| self.held(volume)).collect())
    }

    /// None for what only guards a piece of work, and for a volume that is no lock of deployer's.
    fn held(&self, volume: &Volume) -> Option<HeldLock> {
        let service = volume.labels.get(labels::SERVICE)?;
        if volume.name.strip_prefix(PREFIX) != Some(service) {
            return None;
        }
        let owner = Owner::read(|key| volume.labels.get(key))?;
        Some(HeldLock { service: service.clone(), holder: owner.seen_from(&self.holder) })
    }
}
