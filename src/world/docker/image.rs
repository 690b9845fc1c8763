//! The family of images: who performs which request, and the small ones: list, tag, remove.

use std::cmp::Reverse;
use std::collections::HashMap;

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::container::PARALLEL;
use super::error::{About, ask, found, missing_image};
use super::{DockerEngine, names};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::image::{Image, ImageEffect, ImageOutcome, ListImages, RemoveImage, TagImage};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl DockerEngine {
    pub(super) async fn image(&self, call: &Call, effect: &ImageEffect) -> Result<ImageOutcome, EffectError> {
        match effect {
            ImageEffect::Build(request) => self.build(call, request).await.map(ImageOutcome::Build),
            ImageEffect::Pull(request) => self.pull(call, request).await.map(ImageOutcome::Pull),
            ImageEffect::Push(request) => self.push(call, request).await.map(ImageOutcome::Push),
            ImageEffect::Tag(request) => self.tag(request).await.map(ImageOutcome::Tag),
            ImageEffect::List(request) => self.images(request).await.map(ImageOutcome::List),
            ImageEffect::Remove(request) => self.remove_image(request).await.map(ImageOutcome::Remove),
            ImageEffect::Load(request) => self.load(call, request).await.map(ImageOutcome::Load),
        }
    }

    /// The image of this name or id, or none.
    pub(super) async fn image_named(&self, name: &str) -> Result<Option<Image>, EffectError> {
        names::image(name)?;
        found(ask(About::Image(name), self.docker.inspect_image(name)).await).map(|image| image.map(view))
    }

    async fn images(&self, request: &ListImages) -> Result<Vec<Image>, EffectError> {
        let mut images = match &request.name {
            Some(name) if names::is_exact(name) => self.image_named(name).await?.into_iter().collect(),
            Some(name) => match self.images_of(Some(names::familiar(names::image(name)?))).await? {
                // No repository of that name: it may be the beginning of an id.
                none if none.is_empty() => self.image_named(name).await?.into_iter().collect(),
                images => images,
            },
            None => self.all_images().await?,
        };
        images.retain(|image: &Image| names::carries(&image.labels, &request.labels));
        images.sort_by_cached_key(|image| Reverse(created(image)));
        Ok(images)
    }

    /// All images, with what is known of who built them.
    async fn all_images(&self) -> Result<Vec<Image>, EffectError> {
        let options = ListImagesOptionsBuilder::new().all(true).build();
        let every = ask(About::Engine, self.docker.list_images(Some(options))).await?;
        let by_id: HashMap<&str, &ImageSummary> = every.iter().map(|image| (image.id.as_str(), image)).collect();
        let mut images = self.images_of(None).await?;
        for image in &mut images {
            image.built_by = builder(&image.id, &by_id);
        }
        Ok(images)
    }

    async fn images_of(&self, repository: Option<&str>) -> Result<Vec<Image>, EffectError> {
        let options = ListImagesOptionsBuilder::new().build();
        let mut listed = ask(About::Engine, self.docker.list_images(Some(options))).await?;
        if let Some(repository) = repository {
            listed.retain(|image| {
                image.repo_tags.iter().any(|tag| names::familiar(&names::repository_and_tag(tag).0) == repository)
            });
        }
        let ids: Vec<String> = listed.into_iter().map(|image| image.id).collect();
        let images: Vec<Option<Image>> = stream::iter(ids)
            .map(|id| async move { self.image_named(&id).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(images.into_iter().flatten().collect())
    }

    async fn tag(&self, request: &TagImage) -> Result<(), EffectError> {
        names::image(&request.image)?;
        let (repository, tag) = names::repository_and_tag(names::image(&request.tag)?);
        let options = TagImageOptionsBuilder::new().repo(&repository).tag(&tag).build();
        ask(About::Image(&request.image), self.docker.tag_image(&request.image, Some(options))).await
    }

    async fn remove_image(&self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let name = names::image(&request.image)?;
        let options = RemoveImageOptionsBuilder::new().force(request.force).build();
        match ask(About::Image(name), self.docker.remove_image(name, Some(options), None)).await {
            Ok(_) => Ok(Removed { removed: true }),
            Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => Ok(Removed { removed: false }),
            Err(error) if error.kind == ErrorKind::NotFound => Err(missing_image(name)),
            Err(error) if error.kind == ErrorKind::Conflict => {
                Err(error.hint(format!("see who uses it: docker ps --all --filter ancestor={name}")))
            }
            Err(error) => Err(error),
        }
    }
}

/// The effect that built the image itself and not one that it was built from: labels pass on. A build adds its labels
/// last, one step each. So there is nothing but such steps from the image down to where the effect's label began.
fn builder(id: &str, by_id: &HashMap<&str, &ImageSummary>) -> Option<String> {
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

fn view(found: ImageInspect) -> Image {
    Image {
        id: found.id.unwrap_or_default(),
        tags: found.repo_tags.unwrap_or_default(),
        created_at: found.created,
        size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        built_by: None,
        labels: found.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect(),
    }
}

/// The oldest, where it is not known.
fn created(image: &Image) -> Option<jiff::Timestamp> {
    image.created_at.as_deref().and_then(|at| at.parse().ok())
}
