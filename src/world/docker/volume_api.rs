//! Creates, finds and removes volumes in the engine: the requests that volumes, locks and routes are built on.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{Volume as EngineVolume, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;

use super::client::EngineClient;
use super::error::{Subject, await_reply, none_if_missing};
use super::names;
use crate::effect::EffectError;
use crate::effect::volume::Volume;

/// The engine's volume requests.
#[derive(Clone, Debug)]
pub(super) struct VolumeApi {
    client: Arc<EngineClient>,
}

impl VolumeApi {
    pub(super) fn new(client: Arc<EngineClient>) -> Self {
        Self { client }
    }

    /// Creates the volume, or returns the existing one: its labels are those of its creator.
    ///
    /// After a restart, engine 20.10 answers for an existing volume without its labels until it was inspected once.
    /// Therefore an answer without the requested labels is not believed, and the volume is inspected.
    pub(super) async fn create(&self, name: &str, labels: HashMap<String, String>) -> Result<Volume, EffectError> {
        names::validate("volume", name)?;
        let asked_for_labels = !labels.is_empty();
        let request = VolumeCreateRequest { name: Some(name.into()), labels: Some(labels), ..Default::default() };
        let created = await_reply(Subject::Volume(name), self.client.docker.create_volume(request)).await?;
        if asked_for_labels && created.labels.is_empty() {
            let inspected = await_reply(Subject::Volume(name), self.client.docker.inspect_volume(name)).await?;
            return Ok(view(inspected));
        }
        Ok(view(created))
    }

    /// Inspects the volume. `None` when it does not exist.
    pub(super) async fn find(&self, name: &str) -> Result<Option<EngineVolume>, EffectError> {
        names::validate("volume", name)?;
        none_if_missing(await_reply(Subject::Volume(name), self.client.docker.inspect_volume(name)).await)
    }

    /// Removes the volume. Returns false when it does not exist.
    pub(super) async fn remove(&self, name: &str) -> Result<bool, EffectError> {
        let reply = self.client.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        none_if_missing(await_reply(Subject::Volume(name), reply).await).map(|removed| removed.is_some())
    }
}

/// Converts the engine's description of a volume.
pub(super) fn view(volume: EngineVolume) -> Volume {
    Volume {
        name: volume.name,
        driver: volume.driver,
        mountpoint: volume.mountpoint,
        labels: volume.labels.into_iter().collect(),
        created_at: volume.created_at,
        content_id: None,
    }
}
