//! Removing images.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveImageOptionsBuilder};

use super::Images;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::image::{RemoveImage, image_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;
use crate::world::docker::volume::COPY_ROLE;

/// How long to wait for the container of a volume copy, which may use any image, and how often to check.
const COPY_WAIT: Duration = Duration::from_secs(30);
const COPY_POLL: Duration = Duration::from_millis(50);

impl Images {
    pub(super) async fn remove(&self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let name = names::validate_image(&request.image)?;
        let end_ms = self.client.clock.steady_ms() + COPY_WAIT.as_millis() as u64;
        loop {
            let options = RemoveImageOptionsBuilder::new().force(request.force).build();
            match await_reply(Subject::Image(name), self.client.docker.remove_image(name, Some(options), None)).await {
                Ok(_) => return Ok(Removed { removed: true }),
                Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => {
                    return Ok(Removed { removed: false });
                }
                Err(error) if error.kind == ErrorKind::NotFound => return Err(image_not_found(name)),
                Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
                Err(error) => {
                    if !self.only_copies_use(name, &error).await? || self.client.clock.steady_ms() >= end_ms {
                        let list = format!("docker ps --all --filter ancestor={name}");
                        return Err(error.hint(format!("list the containers that use it: {list}")));
                    }
                    self.client.clock.sleep(COPY_POLL).await;
                }
            }
        }
    }

    /// Whether each container that prevents the removal serves a volume copy. The container that `refused` names may
    /// have ended by now, which is known by its absence.
    async fn only_copies_use(&self, image: &str, refused: &EffectError) -> Result<bool, EffectError> {
        let filters = HashMap::from([("ancestor", vec![image.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let users = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
        let is_copy = |labels: &HashMap<String, String>| labels.get(labels::ROLE).is_some_and(|role| role == COPY_ROLE);
        // Without a container, the engine refused for another reason, such as a child image, unless it named one.
        let named_one = refused.message.contains("container ");
        Ok((named_one || !users.is_empty()) && users.iter().all(|user| user.labels.as_ref().is_some_and(is_copy)))
    }
}
