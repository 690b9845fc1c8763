//! Named volumes and the databases in them. Knows nothing of what a database holds.
//!
//! Faults: no such volume, a volume that a container uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::SimContainer;
use super::containers::carries;
use super::sim_host::SimHost;
use super::sqlite_rows::Database;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::{CreateVolume, ListVolumes, RemoveVolume, Volume, VolumeEffect, VolumeOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// A volume: its labels, and its databases by their path in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimVolume {
    pub labels: BTreeMap<String, String>,
    pub databases: BTreeMap<String, Database>,
    /// Tells one content from another: what `volume_swap` exchanges.
    pub content_id: String,
}

/// Volumes by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes(pub(super) BTreeMap<String, SimVolume>);

impl Volumes {
    /// What the engine does for a mount whose volume is missing.
    pub(super) fn ensure(&mut self, name: &str) {
        if !self.0.contains_key(name) {
            // As good as any: no other volume has the name.
            let volume = SimVolume { content_id: name.to_owned(), ..SimVolume::default() };
            self.0.insert(name.to_owned(), volume);
        }
    }
}

pub(super) fn missing(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("volume `{name}` does not exist"))
        .hint("see which there are: docker volume ls")
        .not_applied()
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

impl SimHost {
    pub(super) fn volume(&mut self, call: &Call, effect: &VolumeEffect) -> Result<VolumeOutcome, EffectError> {
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

    pub(super) fn list_volumes(&self, request: &ListVolumes) -> Vec<Volume> {
        self.volumes
            .0
            .iter()
            .filter(|(name, _)| request.name.as_ref().is_none_or(|wanted| wanted == *name))
            .filter(|(_, volume)| carries(&volume.labels, &request.labels))
            .map(|(name, volume)| view(name, volume))
            .collect()
    }

    fn remove_volume(&mut self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        let Some(volume) = self.volumes.0.get(&request.name) else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing(&request.name)) };
        };
        if request.only_own && volume.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        let user = self.user_of(&request.name);
        if let Some(user) = user {
            let message = format!("volume `{}` is used by container `{}`", request.name, user.name());
            return Err(EffectError::new(ErrorKind::Conflict, message)
                .hint(format!("remove the container first: docker rm {}", user.name()))
                .not_applied());
        }
        self.volumes.0.remove(&request.name);
        Ok(Removed { removed: true })
    }

    /// A container that mounts the volume, whether or not it runs.
    pub(super) fn user_of(&self, volume: &str) -> Option<&SimContainer> {
        self.containers
            .all()
            .find(|container| container.spec.volumes.iter().any(|mount| mount.is_volume() && mount.source == volume))
    }
}
