//! Removes volumes.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::Volumes;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::RemoveVolume;
use crate::effect::volume::{volume_in_use, volume_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;

impl Volumes {
    pub(super) async fn remove(&self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        let name = names::validate("volume", &request.name)?;
        let missing = || volume_not_found(name);
        if let Some(unfinished) = self.unfinished_copy(name).await?
            && (!request.only_own || unfinished.run == call.run.as_str())
        {
            let lock = self.lock(call, name).await?;
            let removed = match self.unfinished_copy(name).await? {
                Some(unfinished) => self.remove_unfinished(&unfinished).await.map(|()| true),
                None => Ok(false),
            };
            lock.release().await?;
            if removed? {
                return Ok(Removed { removed: true });
            }
        }
        let Some(volume) = self.api.find(name).await? else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing()) };
        };
        if request.only_own && volume.labels.get(labels::RUN).map(String::as_str) != Some(call.run.as_str()) {
            return Ok(Removed { removed: false });
        }
        match self.api.remove(name).await {
            Ok(removed) if removed || request.missing_ok => Ok(Removed { removed }),
            Ok(_) => Err(missing()),
            Err(error) if error.kind == ErrorKind::Conflict => Err(self.name_users(name, error).await),
            Err(error) => Err(error),
        }
    }

    /// Adds the names of the containers that use the volume.
    async fn name_users(&self, name: &str, error: EffectError) -> EffectError {
        let filters = HashMap::from([("volume", vec![name.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let Ok(users) = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await else {
            return error;
        };
        let users: Vec<String> = users
            .into_iter()
            .filter_map(|user| user.names?.first().map(|name| name.trim_start_matches('/').to_owned()))
            .collect();
        if users.is_empty() { error } else { volume_in_use(name, &users) }
    }
}
