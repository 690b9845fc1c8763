//! Lists volumes by name and labels.

use std::collections::HashMap;
use std::path::Path;

use bollard::query_parameters::ListVolumesOptionsBuilder;

use super::Volumes;
use super::unfinished::is_marker;
use crate::effect::EffectError;
use crate::effect::volume::{ListVolumes, Volume};
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;
use crate::world::docker::volume_api::view;
use crate::world::folder_copy::content_id;

impl Volumes {
    /// Lists the complete volumes that match the request, by name. Volumes that are still being copied do not exist
    /// yet.
    pub(in crate::world::docker) async fn list(&self, request: &ListVolumes) -> Result<Vec<Volume>, EffectError> {
        let mut filters: HashMap<&str, Vec<String>> = HashMap::new();
        if let Some(name) = &request.name {
            filters.insert("name", vec![names::validate("volume", name)?.to_owned()]);
        }
        if !request.labels.is_empty() {
            let filter = |(key, value): (&String, &String)| match value.as_str() {
                "" => key.clone(),
                value => format!("{key}={value}"),
            };
            filters.insert("label", request.labels.iter().map(filter).collect());
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let listed = await_reply(Subject::Engine, self.client.docker.list_volumes(Some(options)))
            .await?
            .volumes
            .unwrap_or_default();
        let mut volumes: Vec<Volume> = listed
            .into_iter()
            .map(view)
            // The engine matches any part of a name.
            .filter(|volume| request.name.as_ref().is_none_or(|name| *name == volume.name))
            .filter(|volume| !is_marker(&volume.labels))
            .map(|volume| self.identified(volume))
            .collect();
        let unfinished = self.unfinished_copies().await?;
        volumes.retain(|volume| unfinished.iter().all(|copy| copy.to != volume.name || copy.kept.is_some()));
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Adds the identity of the volume's folder, where it can be read.
    pub(super) fn identified(&self, volume: Volume) -> Volume {
        let id = self.client.is_on_this_host().then(|| content_id(Path::new(&volume.mountpoint))).flatten();
        Volume { content_id: id, ..volume }
    }
}
