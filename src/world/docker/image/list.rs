//! Lists images by name and labels, and finds out which effect built them.

use std::cmp::Reverse;
use std::collections::HashMap;

use bollard::models::ImageSummary;
use bollard::query_parameters::ListImagesOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Images;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::image::{Image, ListImages};
use crate::world::docker::client::PARALLEL_REQUESTS;
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;

impl Images {
    pub(super) async fn list(&self, request: &ListImages) -> Result<Vec<Image>, EffectError> {
        let mut images = match &request.name {
            Some(name) if names::is_exact(name) => self.find(name).await?.into_iter().collect(),
            Some(name) => match self.images_of(Some(names::familiar(names::validate_image(name)?))).await? {
                // No repository of that name: it may be the start of an id.
                images if images.is_empty() => self.find(name).await?.into_iter().collect(),
                images => images,
            },
            None => self.all_images().await?,
        };
        images.retain(|image: &Image| names::has_labels(&image.labels, &request.labels));
        images.sort_by_cached_key(|image| Reverse(creation_time(image)));
        Ok(images)
    }

    /// Lists all images, with the effect that built each, where it is known.
    async fn all_images(&self) -> Result<Vec<Image>, EffectError> {
        let options = ListImagesOptionsBuilder::new().all(true).build();
        let with_intermediate = await_reply(Subject::Engine, self.client.docker.list_images(Some(options))).await?;
        let by_id: HashMap<&str, &ImageSummary> =
            with_intermediate.iter().map(|image| (image.id.as_str(), image)).collect();
        let mut images = self.images_of(None).await?;
        for image in &mut images {
            image.built_by = built_by(&image.id, &by_id);
        }
        Ok(images)
    }

    async fn images_of(&self, repository: Option<&str>) -> Result<Vec<Image>, EffectError> {
        let options = ListImagesOptionsBuilder::new().build();
        let mut listed = await_reply(Subject::Engine, self.client.docker.list_images(Some(options))).await?;
        if let Some(repository) = repository {
            listed.retain(|image| {
                image.repo_tags.iter().any(|tag| names::familiar(&names::repository_and_tag(tag).0) == repository)
            });
        }
        let ids: Vec<String> = listed.into_iter().map(|image| image.id).collect();
        let images: Vec<Option<Image>> = stream::iter(ids)
            .map(|id| async move { self.find(&id).await })
            .buffered(PARALLEL_REQUESTS)
            .try_collect()
            .await?;
        Ok(images.into_iter().flatten().collect())
    }
}

/// Returns the effect that built this image, rather than an image that it is based on: labels are inherited. A build
/// adds its labels last, one per step, so between the image and the parent where the effect's label begins there are
/// only such steps.
fn built_by(id: &str, by_id: &HashMap<&str, &ImageSummary>) -> Option<String> {
    let mut image = by_id.get(id)?;
    let effect = image.labels.get(labels::EFFECT)?;
    loop {
        let parent = by_id.get(image.parent_id.as_str())?;
        if parent.labels.get(labels::EFFECT) != Some(effect) {
            return Some(effect.clone());
        }
        if parent.labels.len() >= image.labels.len() {
            return None;
        }
        image = parent;
    }
}

/// Parses the creation time. Images without one sort as the oldest.
fn creation_time(image: &Image) -> Option<jiff::Timestamp> {
    image.created_at.as_deref().and_then(|at| at.parse().ok())
}
