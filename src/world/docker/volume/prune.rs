//! Removes old snapshots and copies that killed runs left unfinished.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Volumes;
use super::unfinished::UnfinishedCopy;
use crate::effect::volume::{ListVolumes, PruneVolumes, Pruned, snapshot_age};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::names;

impl Volumes {
    pub(super) async fn prune(&self, call: &Call, request: &PruneVolumes) -> Result<Pruned, EffectError> {
        if let Some(volume) = &request.volume {
            names::validate("volume", volume)?;
        }
        let mut pruned = Pruned::default();
        let is_selected = |of: &str| request.volume.as_deref().is_none_or(|volume| volume == of);
        for copy in
            self.unfinished_copies().await?.into_iter().filter(|copy| is_selected(&copy.of) && copy.kept.is_none())
        {
            if (!request.only_own || copy.run == call.run.as_str()) && self.prune_unfinished(call, &copy).await? {
                pruned.unfinished.push(copy.to);
            }
        }
        if request.only_own {
            return Ok(pruned);
        }
        let mut by_volume: BTreeMap<String, Vec<(Duration, String)>> = BTreeMap::new();
        for snapshot in self.list(&ListVolumes::default()).await? {
            if let Some((of, age)) =
                snapshot_age(&snapshot.labels, self.client.clock.unix_ms()).filter(|(of, _)| is_selected(of))
            {
                by_volume.entry(of).or_default().push((age, snapshot.name));
            }
        }
        for snapshot in by_volume.into_values().flat_map(|snapshots| request.outdated(snapshots)) {
            call.report_progress(format!("removing `{snapshot}`"));
            match self.api.remove(&snapshot).await {
                Ok(_) => pruned.removed.push(snapshot),
                Err(error) if error.kind == ErrorKind::Conflict => pruned.in_use.push(snapshot),
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes an unfinished copy. Returns false when another process is still working on it.
    async fn prune_unfinished(&self, call: &Call, copy: &UnfinishedCopy) -> Result<bool, EffectError> {
        let lock = match self.lock(call, &copy.to).await {
            Ok(lock) => lock,
            Err(error) if matches!(error.kind, ErrorKind::Locked | ErrorKind::Conflict) => return Ok(false),
            Err(error) => return Err(error),
        };
        // It may have been completed while this process waited for the lock.
        let removed = match self.unfinished_copy(&copy.to).await {
            Ok(Some(copy)) => self.remove_unfinished(&copy).await.map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        lock.release().await?;
        removed
    }
}
