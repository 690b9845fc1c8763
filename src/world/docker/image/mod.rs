//! Image effects. Each request has a file of its own, except inspecting and tagging, which are here.

mod build;
mod build_context;
mod credentials;
mod list;
mod load;
mod pull;
mod push;
mod remove;
mod transfer;

use std::sync::Arc;

use bollard::models::ImageInspect;
use bollard::query_parameters::TagImageOptionsBuilder;

use super::client::EngineClient;
use super::error::{Subject, await_reply, none_if_missing};
use super::names;
use crate::effect::EffectError;
use crate::effect::image::{Image, ImageEffect, ImageOutcome, TagImage};
use crate::world::Call;

/// Performs image effects.
#[derive(Clone, Debug)]
pub(super) struct Images {
    client: Arc<EngineClient>,
}

impl Images {
    pub(super) fn new(client: Arc<EngineClient>) -> Self {
        Self { client }
    }

    pub(in crate::world::docker) async fn perform(
        &self,
        call: &Call,
        effect: &ImageEffect,
    ) -> Result<ImageOutcome, EffectError> {
        match effect {
            ImageEffect::Build(request) => self.build(call, request).await.map(ImageOutcome::Build),
            ImageEffect::Pull(request) => self.pull(call, request).await.map(ImageOutcome::Pull),
            ImageEffect::Push(request) => self.push(call, request).await.map(ImageOutcome::Push),
            ImageEffect::Tag(request) => self.tag(request).await.map(ImageOutcome::Tag),
            ImageEffect::List(request) => self.list(request).await.map(ImageOutcome::List),
            ImageEffect::Remove(request) => self.remove(request).await.map(ImageOutcome::Remove),
            ImageEffect::Load(request) => self.load(call, request).await.map(ImageOutcome::Load),
        }
    }

    /// Returns the image of this name or id, if it exists.
    pub(in crate::world::docker) async fn find(&self, name: &str) -> Result<Option<Image>, EffectError> {
        names::validate_image(name)?;
        none_if_missing(await_reply(Subject::Image(name), self.client.docker.inspect_image(name)).await)
            .map(|image| image.map(view))
    }

    async fn tag(&self, request: &TagImage) -> Result<(), EffectError> {
        names::validate_image(&request.image)?;
        let (repository, tag) = names::repository_and_tag(names::validate_image(&request.tag)?);
        let options = TagImageOptionsBuilder::new().repo(&repository).tag(&tag).build();
        await_reply(Subject::Image(&request.image), self.client.docker.tag_image(&request.image, Some(options))).await
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
