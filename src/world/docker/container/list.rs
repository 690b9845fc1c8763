//! Lists containers by name, labels and image.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Containers;
use crate::base::container_ref::ContainerRef;
use crate::effect::EffectError;
use crate::effect::container::{Container, ListContainers};
use crate::effect::image::with_tag;
use crate::world::docker::client::PARALLEL_REQUESTS;
use crate::world::docker::error::{Subject, await_reply, none_if_missing};
use crate::world::docker::names;

impl Containers {
    /// Lists the containers that match the request, newest first.
    pub(in crate::world::docker) async fn list(&self, request: &ListContainers) -> Result<Vec<Container>, EffectError> {
        let mut filters: HashMap<&str, Vec<String>> = HashMap::new();
        if let Some(name) = &request.name {
            // The engine matches any part of a name; the rest is filtered out below.
            filters.insert("name", vec![names::validate("container", name)?.to_owned()]);
        }
        let labels = request.label_filter();
        if !labels.is_empty() {
            let filter = |(key, value): (String, String)| if value.is_empty() { key } else { format!("{key}={value}") };
            filters.insert("label", labels.into_iter().map(filter).collect());
        }
        let options = ListContainersOptionsBuilder::new().all(request.all).filters(&filters).build();
        let listed = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
        let ids: Vec<ContainerRef> =
            listed.into_iter().filter_map(|summary| summary.id.map(ContainerRef::new)).collect();
        // Keeps the engine's order, newest first.
        let containers: Vec<Option<Container>> = stream::iter(ids)
            .map(|id| async move { none_if_missing(self.get(&id).await) })
            .buffered(PARALLEL_REQUESTS)
            .try_collect()
            .await?;
        let image_id = match &request.image {
            Some(image) => self.images.find(image).await?.map(|image| image.id),
            None => None,
        };
        Ok(containers
            .into_iter()
            .flatten()
            .filter(|container| request.name.as_ref().is_none_or(|name| *name == container.name))
            .filter(|container| {
                request.image.as_ref().is_none_or(|image| uses_image(container, image, image_id.as_deref()))
            })
            .collect())
    }
}

/// Returns whether the container was created from this image name, or from the image that has the name now.
fn uses_image(container: &Container, image: &str, image_id: Option<&str>) -> bool {
    names::familiar(&with_tag(&container.image)) == names::familiar(&with_tag(image))
        || image_id.is_some_and(|id| id == container.image_id)
}
