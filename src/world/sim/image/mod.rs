//! Simulated images: list, tag, load and remove. Building is in `build`, registries are in `registry`.
//!
//! Faults: a missing image or archive, a full disk, an image that a container uses or that has several names.

mod build;
mod registry;

use super::model::image::StoredImage;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::image::{
    Image, ImageEffect, ImageOutcome, ListImages, LoadImage, RemoveImage, TagImage, image_not_found, image_timed_out,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl SimHost {
    pub(crate) fn image(&mut self, call: &Call, effect: &ImageEffect) -> Result<ImageOutcome, EffectError> {
        Ok(match effect {
            ImageEffect::Build(request) => ImageOutcome::Build(self.build(call, request)?),
            ImageEffect::Pull(request) => ImageOutcome::Pull(self.pull(call, request)?),
            ImageEffect::Push(request) => ImageOutcome::Push(self.push(request)?),
            ImageEffect::Tag(request) => ImageOutcome::Tag(self.tag(request)?),
            ImageEffect::List(request) => ImageOutcome::List(self.list_images(request)),
            ImageEffect::Remove(request) => ImageOutcome::Remove(self.remove_image(request)?),
            ImageEffect::Load(request) => ImageOutcome::Load(self.load(request)?),
        })
    }

    fn image_view(&self, image: &StoredImage) -> Image {
        Image {
            id: image.id.clone(),
            tags: self.images.names_of(&image.id),
            created_at: Some(self.clock.text(image.created_at)),
            size: image.size_mb << 20,
            built_by: image.labels.get(labels::EFFECT).cloned(),
            labels: image.labels.clone(),
        }
    }

    pub(crate) fn image_by_id(&self, id: &str) -> Result<Image, EffectError> {
        self.images.find(id).map(|image| self.image_view(image)).ok_or_else(|| image_not_found(id))
    }

    /// Advances the clock by the time of the work, or fails when the timeout is shorter.
    pub(crate) fn advance_or_time_out(
        &mut self,
        what: &str,
        takes_ms: u64,
        timeout: DurationText,
    ) -> Result<(), EffectError> {
        let timeout_ms = whole_ms(timeout.0);
        self.advance(takes_ms.min(timeout_ms));
        if takes_ms <= timeout_ms {
            return Ok(());
        }
        Err(image_timed_out(what, timeout))
    }

    fn tag(&mut self, request: &TagImage) -> Result<(), EffectError> {
        let id = self.images.find(&request.image).ok_or_else(|| image_not_found(&request.image))?.id.clone();
        self.images.add_name(&request.tag, &id);
        Ok(())
    }

    fn list_images(&self, request: &ListImages) -> Vec<Image> {
        let matches = |image: &StoredImage| {
            let Some(wanted) = &request.name else { return true };
            let names = self.images.names_of(&image.id);
            if names.iter().any(|name| name == wanted || name.rsplit_once(':').is_some_and(|(repo, _)| repo == wanted))
            {
                return true;
            }
            self.images.by_id_prefix(wanted).is_some_and(|found| found.id == image.id)
        };
        let mut found: Vec<&StoredImage> = self
            .images
            .all()
            .filter(|image| matches(image) && super::container::has_labels(&image.labels, &request.labels))
            .collect();
        found.sort_by_key(|image| std::cmp::Reverse(image.number));
        found.into_iter().map(|image| self.image_view(image)).collect()
    }

    fn remove_image(&mut self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let Some(image) = self.images.find(&request.image) else {
            return if request.missing_ok {
                Ok(Removed { removed: false })
            } else {
                Err(image_not_found(&request.image))
            };
        };
        let (id, names) = (image.id.clone(), self.images.names_of(&image.id));
        let user = self.containers.all().filter(|container| container.image_id == id).max_by_key(|c| c.is_active());
        let by_name = self.images.has_name(&request.image);
        if by_name && (names.len() > 1 || (request.force && user.is_some())) {
            self.images.remove_name(&request.image);
            return Ok(Removed { removed: true });
        }
        if let Some(user) = user.filter(|user| !request.force || user.is_active()) {
            return Err(request.in_use(user.name(), !request.force && !user.is_active()));
        }
        if names.len() > 1 && !request.force {
            return Err(request.has_several_names(&names));
        }
        if let Some(image) = self.images.delete(&id) {
            self.machine.free_disk(image.size_mb);
        }
        Ok(Removed { removed: true })
    }

    pub(crate) fn load(&mut self, request: &LoadImage) -> Result<Vec<Image>, EffectError> {
        let Some(images) = self.images.archives.get(&request.file).cloned() else {
            return Err(request.unreadable(ErrorKind::NotFound, &"there is no such file"));
        };
        let size: u64 = images.iter().map(|image| image.size_mb).sum();
        self.advance_or_time_out(&format!("loading `{}`", request.file), size, request.timeout)?;
        self.machine.use_disk(&format!("loading `{}`", request.file), size)?;
        let now = self.now();
        images
            .iter()
            .map(|image| {
                let id = self.images.add(&mut self.ids, image, now);
                self.image_by_id(&id)
            })
            .collect()
    }
}
