//! Builds simulated images.
//!
//! Faults: a missing folder, a build that fails or takes too long, a full disk.

use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::image::{BuildImage, Image, build_context_not_found, build_failed, with_tag};
use crate::world::Call;
use crate::world::sim::model::image::SimImage;
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    pub(crate) fn build(&mut self, call: &Call, request: &BuildImage) -> Result<Image, EffectError> {
        for text in request.args.values() {
            call.vault.reveal(text)?;
        }
        let Some(sim_build) = self.images.build_for(&request.context) else {
            return Err(build_context_not_found(&request.context));
        };
        self.advance_or_time_out(&request.label(), sim_build.takes_ms, request.timeout)?;
        if let Some(why) = sim_build.fails {
            return Err(build_failed(&request.tag, &why).not_applied());
        }
        let mut image = SimImage { names: vec![request.tag.clone()], ..sim_build.image };
        image.labels.extend(request.labels.clone());
        image.labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        image.labels.insert(labels::IMAGE.into(), with_tag(&request.tag));
        self.machine.use_disk(&format!("image `{}`", request.tag), image.size_mb)?;
        let now = self.now();
        let id = self.images.add(&mut self.ids, &image, now);
        self.image_by_id(&id)
    }
}
