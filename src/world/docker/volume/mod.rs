//! The family of volumes: making, listing, removing; copies of them in the files beside.

mod archive;
mod clone;
mod fill;
mod hold;
pub(super) mod mark;
mod prune;
mod restore;
mod stream;
mod swap;
mod users;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{Volume as EngineVolume, VolumeCreateRequest};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};

use super::error::{About, ask, found};
use super::{DockerEngine, names};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::{CreateVolume, ListVolumes, RemoveVolume, Volume, VolumeEffect, VolumeOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::replica::content_id;
pub(super) use hold::VolumesHeld;

/// The role of containers that exist only for a copy.
pub(super) const ROLE_OF_COPIES: &str = "copy";
/// How long a removal of theirs that is under way may take.
const REMOVAL_WAIT: Duration = Duration::from_secs(10);
const REMOVAL_POLL: Duration = Duration::from_millis(20);

impl DockerEngine {
    pub(super) async fn volume(
        self: &Arc<Self>,
        call: &Call,
        effect: &VolumeEffect,
    ) -> Result<VolumeOutcome, EffectError> {
        match effect {
            VolumeEffect::Create(request) => self.create_volume(call, request).await.map(VolumeOutcome::Create),
            VolumeEffect::List(request) => self.volumes(request).await.map(VolumeOutcome::List),
            VolumeEffect::Remove(request) => self.remove_volume(call, request).await.map(VolumeOutcome::Remove),
            VolumeEffect::Clone(request) => self.clone_volume(call, request).await.map(VolumeOutcome::Clone),
            VolumeEffect::Snapshot(request) => self.snapshot_volume(call, request).await.map(VolumeOutcome::Snapshot),
            VolumeEffect::Restore(request) => self.restore_volume(call, request).await.map(VolumeOutcome::Restore),
            VolumeEffect::Swap(request) => self.swap_volumes(call, request).await.map(VolumeOutcome::Swap),
            VolumeEffect::Measure(request) => self.measure_volume(call, request).await.map(VolumeOutcome::Measure),
            VolumeEffect::Prune(request) => self.prune_volumes(call, request).await.map(VolumeOutcome::Prune),
        }
    }

    async fn create_volume(&self, call: &Call, request: &CreateVolume) -> Result<Volume, EffectError> {
        let mut labels: HashMap<String, String> = request.labels.clone().into_iter().collect();
        labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        names::plain("volume", &request.name)?;
        self.expect_whole(&request.name).await?;
        self.make_volume(&request.name, labels).await.map(|volume| self.identified(volume))
    }

    /// Makes the volume, or finds the one that is there: the labels are those of whoever was first.
    pub(super) async fn make_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<Volume, EffectError> {
        names::plain("volume", name)?;
        let request = VolumeCreateRequest { name: Some(name.into()), labels: Some(labels), ..Default::default() };
        ask(About::Volume(name), self.docker.create_volume(request)).await.map(view)
    }

    /// The volume, or none.
    pub(super) async fn volume_named(&self, name: &str) -> Result<Option<EngineVolume>, EffectError> {
        names::plain("volume", name)?;
        found(ask(About::Volume(name), self.docker.inspect_volume(name)).await)
    }

    /// Volumes that are whole: what is still being copied is not there yet.
    pub(in crate::world::docker) async fn volumes(&self, request: &ListVolumes) -> Result<Vec<Volume>, EffectError> {
        let mut filters: HashMap<&str, Vec<String>> = HashMap::new();
        if let Some(name) = &request.name {
            filters.insert("name", vec![names::plain("volume", name)?.to_owned()]);
        }
        if !request.labels.is_empty() {
            let wanted = |(key, value): (&String, &String)| match value.as_str() {
                "" => key.clone(),
                value => format!("{key}={value}"),
            };
            filters.insert("label", request.labels.iter().map(wanted).collect());
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = ask(About::Engine, self.docker.list_volumes(Some(options))).await?.volumes.unwrap_or_default();
        let mut volumes: Vec<Volume> = listed
            .into_iter()
            .map(view)
            // The engine takes any part of a name.
            .filter(|volume| request.name.as_ref().is_none_or(|name| *name == volume.name))
            .filter(|volume| !mark::is_mark(&volume.labels))
            .map(|volume| self.identified(volume))
            .collect();
        let unfinished = self.marks().await?;
        volumes.retain(|volume| unfinished.iter().all(|mark| mark.to != volume.name || mark.kept.is_some()));
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Adds which folder it is, where that can be seen.
    fn identified(&self, volume: Volume) -> Volume {
        let id = self.remote_host.is_none().then(|| content_id(Path::new(&volume.mountpoint))).flatten();
        Volume { content_id: id, ..volume }
    }

    /// Takes away the containers that served for a copy into this volume.
    async fn remove_copy_containers(&self, to: &str) -> Result<(), EffectError> {
        let wanted = [format!("{}={ROLE_OF_COPIES}", labels::ROLE), format!("{}={to}", labels::COPY_TO)];
        let filters = HashMap::from([("label", wanted.to_vec())]);
        let end_ms = self.clock.steady_ms() + REMOVAL_WAIT.as_millis() as u64;
        loop {
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let left = ask(About::Engine, self.docker.list_containers(Some(options))).await?;
            if left.is_empty() {
                return Ok(());
            }
            for id in left.into_iter().filter_map(|container| container.id) {
                let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
                match found(ask(About::Container(&id), self.docker.remove_container(&id, Some(options))).await) {
                    Ok(_) => {}
                    // Its removal is under way.
                    Err(error) if error.kind == ErrorKind::Conflict && self.clock.steady_ms() < end_ms => {}
                    Err(error) => return Err(error),
                }
            }
            self.clock.sleep(REMOVAL_POLL).await;
        }
    }

    async fn remove_volume(self: &Arc<Self>, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        let name = names::plain("volume", &request.name)?;
        let missing = || missing_volume(name);
        if let Some(mark) = self.mark_of(name).await?
            && (!request.only_own || mark.run == call.run.as_str())
        {
            let hold = self.hold_volume(call, name).await?;
            let cleared = match self.mark_of(name).await? {
                Some(mark) => self.clear_copy(&mark).await.map(|()| true),
                None => Ok(false),
            };
            hold.release().await?;
            if cleared? {
                return Ok(Removed { removed: true });
            }
        }
        let Some(volume) = self.volume_named(name).await? else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing()) };
        };
        if request.only_own && volume.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        match self.drop_volume(name).await {
            Ok(removed) if removed || request.missing_ok => Ok(Removed { removed }),
            Ok(_) => Err(missing()),
            Err(error) if error.kind == ErrorKind::Conflict => Err(self.name_users(name, error).await),
            Err(error) => Err(error),
        }
    }

    /// Removes the volume. False when there was none.
    pub(super) async fn drop_volume(&self, name: &str) -> Result<bool, EffectError> {
        let answer = self.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        found(ask(About::Volume(name), answer).await).map(|removed| removed.is_some())
    }

    async fn name_users(&self, name: &str, error: EffectError) -> EffectError {
        let filters = HashMap::from([("volume", vec![name.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let Ok(users) = ask(About::Engine, self.docker.list_containers(Some(options))).await else {
            return error;
        };
        let users: Vec<String> = users
            .into_iter()
            .filter_map(|user| user.names?.first().map(|name| format!("`{}`", name.trim_start_matches('/'))))
            .collect();
        if users.is_empty() {
            return error;
        }
        EffectError::new(ErrorKind::Conflict, format!("volume `{name}` is used by container {}", users.join(", ")))
            .hint(format!("remove them first: docker rm {}", users.join(" ").replace('`', "")))
            .not_applied()
    }
}

fn missing_volume(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("volume `{name}` does not exist"))
        .hint("list what there is: docker volume ls")
        .not_applied()
}

fn view(volume: EngineVolume) -> Volume {
    Volume {
        name: volume.name,
        driver: volume.driver,
        mountpoint: volume.mountpoint,
        labels: volume.labels.into_iter().collect(),
        created_at: volume.created_at,
        content_id: None,
    }
}
