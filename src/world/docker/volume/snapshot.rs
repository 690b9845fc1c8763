//! Takes snapshots: dated copies of a volume.

use super::Volumes;
use super::clone::CopyPlan;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::volume::{Snapshot, SnapshotVolume, snapshot_labels, snapshot_name, snapshots_of};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::docker::names;

impl Volumes {
    pub(super) async fn snapshot(&self, call: &Call, request: &SnapshotVolume) -> Result<Snapshot, EffectError> {
        names::validate("volume", &request.volume)?;
        let (name, at) = match self.find_own_snapshot(call, &request.volume).await? {
            Some(existing) => existing,
            None => snapshot_name(&request.volume, self.client.clock.unix_ms()),
        };
        let mut all = request.labels.clone();
        all.extend(snapshot_labels(&request.volume, &at));
        let plan = CopyPlan {
            from: request.volume.clone(),
            to: name.clone(),
            while_written: request.while_written,
            way: request.way,
            verify: request.verify,
            labels: all,
        };
        let content = self.copy(call, plan, request.timeout).await?;
        Ok(Snapshot { name, of: request.volume.clone(), at, content })
    }

    /// Returns the name and time of the snapshot that this very effect created before a crash.
    async fn find_own_snapshot(&self, call: &Call, volume: &str) -> Result<Option<(String, String)>, EffectError> {
        let mut filter = snapshots_of(volume);
        filter.labels.insert(labels::EFFECT.into(), call.effect_id());
        let found = self.list(&filter).await?.into_iter().next();
        Ok(found.and_then(|snapshot| Some((snapshot.name, snapshot.labels.get(labels::SNAPSHOT_AT)?.clone()))))
    }
}
