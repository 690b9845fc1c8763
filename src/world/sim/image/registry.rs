//! Pulls and pushes simulated images.
//!
//! Faults: a registry that is down or refuses the credentials, an unknown image, a transfer that takes too long, a full
//! disk.

use crate::base::text::Text;
use crate::effect::image::{
    Image, PullImage, PushImage, Pushed, TransferDirection, image_not_found, transfer_failed, with_tag,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::sim::model::image::SimImage;
use crate::world::sim::sim_host::SimHost;

/// Transfer time per MB.
const TRANSFER_MS_PER_MB: u64 = 10;

impl SimHost {
    fn registry_answers(&self, direction: TransferDirection, image: &str) -> Result<(), EffectError> {
        if self.images.registry_down {
            let error = transfer_failed(direction, ErrorKind::Unavailable, image, &"the registry does not answer");
            return Err(error.not_applied());
        }
        Ok(())
    }

    pub(crate) fn pull(&mut self, call: &Call, request: &PullImage) -> Result<Image, EffectError> {
        let name = with_tag(&request.image);
        self.registry_answers(TransferDirection::Pull, &name)?;
        let failed = |kind, why: &str| transfer_failed(TransferDirection::Pull, kind, &name, &why).not_applied();
        let Some(offered) = self.images.registry_image(&name) else {
            return Err(failed(ErrorKind::NotFound, "the registry does not have it"));
        };
        let given = |text: &Option<Text>| text.as_ref().map(|text| call.vault.reveal(text)).transpose();
        let wanted = (offered.username.clone(), offered.password.clone());
        if wanted != (None, None) && wanted != (given(&request.username)?, given(&request.password)?) {
            return Err(failed(ErrorKind::Refused, "the registry refuses access"));
        }
        self.advance_or_time_out(
            &format!("the pull of image `{name}`"),
            offered.size_mb * TRANSFER_MS_PER_MB,
            request.timeout,
        )?;
        let known = self.images.find(&name).filter(|image| {
            image.behaviour == offered.behaviour && image.labels == offered.labels && image.size_mb == offered.size_mb
        });
        let id = match known {
            Some(image) => image.id.clone(),
            None => {
                self.machine.use_disk(&format!("image `{name}`"), offered.size_mb)?;
                let now = self.now();
                self.images.add(&mut self.ids, &SimImage { names: vec![name], ..offered }, now)
            }
        };
        self.image_by_id(&id)
    }

    pub(crate) fn push(&mut self, request: &PushImage) -> Result<Pushed, EffectError> {
        let image = self.images.find(&request.image).cloned().ok_or_else(|| image_not_found(&request.image))?;
        self.registry_answers(TransferDirection::Push, &with_tag(&request.image))?;
        self.advance_or_time_out(
            &format!("the push of image `{}`", with_tag(&request.image)),
            image.size_mb * TRANSFER_MS_PER_MB,
            request.timeout,
        )?;
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
}
