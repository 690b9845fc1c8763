//! The requests about images: build, pull, push, tag, list, remove, load. Knows nothing of scripts.
//!
//! Faults: a missing image, folder or archive, a build that fails or takes too long, a registry that is down or
//! refuses the credentials, a full disk, an image that a container uses or that has several names.

use super::images::{SimImage, Stored, missing};
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::labels;
use crate::base::text::Text;
use crate::effect::container::Removed;
use crate::effect::image::{
    BuildImage, Image, ImageEffect, ImageOutcome, ListImages, LoadImage, PullImage, PushImage, Pushed, RemoveImage,
    TagImage, with_tag,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What a transfer takes for every MB.
const TRANSFER_MS_PER_MB: u64 = 10;

impl SimHost {
    pub(super) fn image(&mut self, call: &Call, effect: &ImageEffect) -> Result<ImageOutcome, EffectError> {
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

    fn view_image(&self, image: &Stored) -> Image {
        Image {
            id: image.id.clone(),
            tags: self.images.names_of(&image.id),
            created_at: Some(self.clock.text(image.created_at)),
            size: image.size_mb << 20,
            built_by: image.labels.get(labels::EFFECT).cloned(),
            labels: image.labels.clone(),
        }
    }

    fn seen(&self, id: &str) -> Result<Image, EffectError> {
        self.images.find(id).map(|image| self.view_image(image)).ok_or_else(|| missing(id))
    }

    /// Lets work take its time, or as long as it may.
    pub(super) fn work(&mut self, what: &str, takes_ms: u64, timeout: DurationText) -> Result<(), EffectError> {
        let patience = whole_ms(timeout.0);
        self.pass(takes_ms.min(patience));
        if takes_ms <= patience {
            return Ok(());
        }
        Err(EffectError::new(ErrorKind::Timeout, format!("{what} took longer than {timeout}")))
    }

    fn build(&mut self, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        for text in request.args.values() {
            call.vault.reveal(text)?;
        }
        let Some(recipe) = self.images.recipe(&request.context) else {
            let message = format!("the build's folder `{}` does not exist", request.context);
            return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
        };
        self.work(&format!("the build of `{}`", request.tag), recipe.takes_ms, request.timeout)?;
        if let Some(why) = recipe.fails {
            let message = format!("the build of `{}` failed: {why}", request.tag);
            return Err(EffectError::new(ErrorKind::Failed, message).not_applied());
        }
        let mut image = SimImage { names: vec![request.tag.clone()], ..recipe.image };
        image.labels.extend(request.labels.clone());
        image.labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        image.labels.insert(labels::IMAGE.into(), with_tag(&request.tag));
        self.machine.store(image.size_mb)?;
        let now = self.now();
        let id = self.images.add(&mut self.ids, &image, now);
        self.seen(&id)
    }

    fn registry_answers(&self, image: &str) -> Result<(), EffectError> {
        if self.images.registry_down {
            let message = format!("the registry of `{image}` does not answer");
            return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
        }
        Ok(())
    }

    fn pull(&mut self, call: &Call, request: &PullImage) -> Result<Image, EffectError> {
        self.registry_answers(&request.image)?;
        let name = with_tag(&request.image);
        let Some(offered) = self.images.offered(&name) else {
            return Err(
                EffectError::new(ErrorKind::NotFound, format!("no registry has an image `{name}`")).not_applied()
            );
        };
        let given = |text: &Option<Text>| text.as_ref().map(|text| call.vault.reveal(text)).transpose();
        let wanted = (offered.username.clone(), offered.password.clone());
        if wanted != (None, None) && wanted != (given(&request.username)?, given(&request.password)?) {
            return Err(EffectError::new(ErrorKind::Refused, format!("the registry refuses to give `{name}`"))
                .hint("docker login")
                .not_applied());
        }
        self.work(&format!("the pull of `{name}`"), offered.size_mb * TRANSFER_MS_PER_MB, request.timeout)?;
        let known = self.images.find(&name).filter(|image| {
            image.behaviour == offered.behaviour && image.labels == offered.labels && image.size_mb == offered.size_mb
        });
        let id = match known {
            Some(image) => image.id.clone(),
            None => {
                self.machine.store(offered.size_mb)?;
                let now = self.now();
                self.images.add(&mut self.ids, &SimImage { names: vec![name], ..offered }, now)
            }
        };
        self.seen(&id)
    }

    fn push(&mut self, request: &PushImage) -> Result<Pushed, EffectError> {
        let image = self.images.find(&request.image).cloned().ok_or_else(|| missing(&request.image))?;
        self.registry_answers(&request.image)?;
        self.work(&format!("the push of `{}`", request.image), image.size_mb * TRANSFER_MS_PER_MB, request.timeout)?;
        let name = with_tag(&request.image);
        let pushed = SimImage {
            names: vec![name.clone()],
            behaviour: image.behaviour,
            size_mb: image.size_mb,
            labels: image.labels,
            ..SimImage::default()
        };
        self.images.registry.insert(name, pushed);
        Ok(Pushed { digest: Some(image.id) })
    }

    fn tag(&mut self, request: &TagImage) -> Result<(), EffectError> {
        let id = self.images.find(&request.image).ok_or_else(|| missing(&request.image))?.id.clone();
        self.images.name(&request.tag, &id);
        Ok(())
    }

    fn list_images(&self, request: &ListImages) -> Vec<Image> {
        let matches = |image: &Stored| {
            let Some(wanted) = &request.name else { return true };
            let names = self.images.names_of(&image.id);
            if names.iter().any(|name| name == wanted || name.rsplit_once(':').is_some_and(|(repo, _)| repo == wanted))
            {
                return true;
            }
            self.images.by_id_prefix(wanted).is_some_and(|found| found.id == image.id)
        };
        let mut found: Vec<&Stored> = self
            .images
            .all()
            .filter(|image| matches(image) && super::containers::carries(&image.labels, &request.labels))
            .collect();
        found.sort_by_key(|image| std::cmp::Reverse(image.number));
        found.into_iter().map(|image| self.view_image(image)).collect()
    }

    fn remove_image(&mut self, request: &RemoveImage) -> Result<Removed, EffectError> {
        let Some(image) = self.images.find(&request.image) else {
            return if request.missing_ok { Ok(Removed { removed: false }) } else { Err(missing(&request.image)) };
        };
        let (id, names) = (image.id.clone(), self.images.names_of(&image.id));
        let user = self.containers.all().filter(|container| container.image_id == id).max_by_key(|c| c.is_active());
        let by_name = self.images.has_name(&request.image);
        let conflict = |why: String| {
            Err(EffectError::new(ErrorKind::Conflict, format!("image `{}` {why}", request.image)).not_applied())
        };
        if by_name && (names.len() > 1 || (request.force && user.is_some())) {
            self.images.unname(&request.image);
            return Ok(Removed { removed: true });
        }
        if let Some(user) = user.filter(|user| !request.force || user.is_active()) {
            return conflict(format!("is used by container `{}`", user.name()));
        }
        if names.len() > 1 && !request.force {
            return conflict("has several names".into());
        }
        if let Some(image) = self.images.delete(&id) {
            self.machine.give_back(image.size_mb);
        }
        Ok(Removed { removed: true })
    }

    fn load(&mut self, request: &LoadImage) -> Result<Vec<Image>, EffectError> {
        let Some(images) = self.images.archives.get(&request.file).cloned() else {
            let message = format!("file `{}` does not exist", request.file);
            return Err(EffectError::new(ErrorKind::NotFound, message).not_applied());
        };
        let size: u64 = images.iter().map(|image| image.size_mb).sum();
        self.work(&format!("loading `{}`", request.file), size, request.timeout)?;
        self.machine.store(size)?;
        let now = self.now();
        images
            .iter()
            .map(|image| {
                let id = self.images.add(&mut self.ids, image, now);
                self.seen(&id)
            })
            .collect()
    }
}
