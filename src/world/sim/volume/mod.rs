//! Effects on simulated volumes. Knows nothing of what a database contains.
//!
//! Faults: a volume that does not exist or that a container uses.

mod copy;

use std::collections::BTreeMap;

use super::container::has_labels;
use super::model::container::SimContainer;
use super::model::volume::SimVolume;
use super::sim_host::SimHost;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::volume::{
    CreateVolume, ListVolumes, RemoveVolume, Volume, VolumeEffect, VolumeOutcome, volume_in_use, volume_not_found,
};
use crate::world::Call;

impl SimHost {
    pub(crate) fn volume(&mut self, call: &Call, effect: &VolumeEffect) -> Result<VolumeOutcome, EffectError> {
        Ok(match effect {
            VolumeEffect::Create(request) => VolumeOutcome::Create(self.create_volume(call, request)),
            VolumeEffect::List(request) => VolumeOutcome::List(self.list_volumes(request)),
            VolumeEffect::Remove(request) => VolumeOutcome::Remove(self.remove_volume(call, request)?),
            VolumeEffect::Clone(request) => VolumeOutcome::Clone(self.clone_volume(call, request)?),
            VolumeEffect::Snapshot(request) => VolumeOutcome::Snapshot(self.snapshot_volume(call, request)?),
            VolumeEffect::Restore(request) => VolumeOutcome::Restore(self.restore_volume(call, request)?),
            VolumeEffect::Swap(request) => VolumeOutcome::Swap(self.swap_volumes(request)?),
            VolumeEffect::Measure(request) => VolumeOutcome::Measure(self.measure_volume(request)?),
            VolumeEffect::Prune(request) => VolumeOutcome::Prune(self.prune_volumes(request)),
        })
    }

    fn create_volume(&mut self, call: &Call, request: &CreateVolume) -> Volume {
        let ids = &mut self.ids;
        let volume = self.volumes.0.entry(request.name.clone()).or_insert_with(|| {
            let mut labels = request.labels.clone();
            labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
            labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
            SimVolume { labels, databases: BTreeMap::new(), content_id: ids.next() }
        });
        view(&request.name, volume)
    }

    pub(crate) fn list_volumes(&self, request: &ListVolumes) -> Vec<Volume> {
        self.volumes
            .0
            .iter()
            .filter(|(name, _)| request.name.as_ref().is_none_or(|wanted| wanted == *name))
            .filter(|(_, volume)| has_labels(&volume.labels, &request.labels))
            .map(|(name, volume)| view(name, volume))
            .collect()
    }

    fn remove_volume(&mut self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        let Some(volume) = self.volumes.0.get(&request.name) else {
            return if request.missing_ok {
                Ok(Removed { removed: false })
            } else {
                Err(volume_not_found(&request.name))
            };
        };
        if request.only_own && volume.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let user = self.volume_user(&request.name);
        if let Some(user) = user {
            return Err(volume_in_use(&request.name, &[user.name().to_owned()]));
        }
        self.volumes.0.remove(&request.name);
        Ok(Removed { removed: true })
    }

    /// Returns a container that mounts the volume, whether or not it is running.
    pub(crate) fn volume_user(&self, volume: &str) -> Option<&SimContainer> {
        self.containers
            .all()
            .find(|container| container.spec.volumes.iter().any(|mount| mount.is_volume() && mount.source == volume))
    }
}

fn view(name: &str, volume: &SimVolume) -> Volume {
    Volume {
        name: name.into(),
        driver: "local".into(),
        mountpoint: format!("/var/lib/docker/volumes/{name}/_data"),
        labels: volume.labels.clone(),
        created_at: None,
        content_id: Some(volume.content_id.clone()),
    }
}
