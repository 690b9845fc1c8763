//! `volume_prune`: old snapshots, and what killed runs left half copied.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::mark::Mark;
use crate::effect::volume::{ListVolumes, PruneVolumes, Pruned, snapshot_age};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::{DockerEngine, names};

impl DockerEngine {
    pub(super) async fn prune_volumes(
        self: &Arc<Self>,
        call: &Call,
        request: &PruneVolumes,
    ) -> Result<Pruned, EffectError> {
        if let Some(volume) = &request.volume {
            names::plain("volume", volume)?;
        }
        let mut pruned = Pruned::default();
        let is_meant = |of: &str| request.volume.as_deref().is_none_or(|volume| volume == of);
        for mark in self.marks().await?.into_iter().filter(|mark| is_meant(&mark.of) && mark.kept.is_none()) {
            if (!request.only_own || mark.run == call.run.as_str()) && self.clear_unfinished(call, &mark).await? {
                pruned.unfinished.push(mark.to);
            }
        }
        if request.only_own {
            return Ok(pruned);
        }
        let mut by_volume: BTreeMap<String, Vec<(Duration, String)>> = BTreeMap::new();
        for snapshot in self.volumes(&ListVolumes::default()).await? {
            if let Some((of, age)) = snapshot_age(&snapshot.labels, self.clock.unix_ms()).filter(|(of, _)| is_meant(of))
            {
                by_volume.entry(of).or_default().push((age, snapshot.name));
            }
        }
        for due in by_volume.into_values().flat_map(|snapshots| request.outdated(snapshots)) {
            call.tell(format!("removing `{due}`"));
            match self.drop_volume(&due).await {
                Ok(_) => pruned.removed.push(due),
                Err(error) if error.kind == ErrorKind::Conflict => pruned.in_use.push(due),
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// False when whoever makes it is still at work.
    async fn clear_unfinished(self: &Arc<Self>, call: &Call, mark: &Mark) -> Result<bool, EffectError> {
        let hold = match self.hold_volume(call, &mark.to).await {
            Ok(hold) => hold,
            Err(error) if matches!(error.kind, ErrorKind::Locked | ErrorKind::Conflict) => return Ok(false),
            Err(error) => return Err(error),
        };
        // It may have become whole while the hold was waited for.
        let cleared = match self.mark_of(&mark.to).await {
            Ok(Some(mark)) => self.clear_copy(&mark).await.map(|()| true),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        hold.release().await?;
        cleared
    }
}
