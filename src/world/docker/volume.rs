//! The family of volumes.

use std::collections::HashMap;

use bollard::models::{Volume as EngineVolume, VolumeCreateRequest};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptions};

use super::error::{About, ask, found};
use super::{DockerEngine, names};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::{CreateVolume, ListVolumes, RemoveVolume, Volume, VolumeEffect, VolumeOutcome};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl DockerEngine {
    pub(super) async fn volume(&self, call: &Call, effect: &VolumeEffect) -> Result<VolumeOutcome, EffectError> {
        match effect {
            VolumeEffect::Create(request) => self.create_volume(call, request).await.map(VolumeOutcome::Create),
            VolumeEffect::List(request) => self.volumes(request).await.map(VolumeOutcome::List),
            VolumeEffect::Remove(request) => self.remove_volume(call, request).await.map(VolumeOutcome::Remove),
        }
    }

    async fn create_volume(&self, call: &Call, request: &CreateVolume) -> Result<Volume, EffectError> {
        let mut labels: HashMap<String, String> = request.labels.clone().into_iter().collect();
        labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        self.make_volume(&request.name, labels).await
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

    pub(super) async fn volumes(&self, request: &ListVolumes) -> Result<Vec<Volume>, EffectError> {
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
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    async fn remove_volume(&self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        let name = names::plain("volume", &request.name)?;
        let missing = || {
            EffectError::new(ErrorKind::NotFound, format!("volume `{name}` does not exist"))
                .hint("list what there is: docker volume ls")
                .not_applied()
        };
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

fn view(volume: EngineVolume) -> Volume {
    Volume {
        name: volume.name,
        driver: volume.driver,
        mountpoint: volume.mountpoint,
        labels: volume.labels.into_iter().collect(),
        created_at: volume.created_at,
    }
}
