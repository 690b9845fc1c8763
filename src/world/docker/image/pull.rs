//! Pulls images from a registry.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

use super::transfer::{TransferProgress, transfer_error, within_timeout};
use super::{Images, credentials};
use crate::effect::EffectError;
use crate::effect::image::{Image, PullImage, TransferDirection, image_not_found, registry, with_tag};
use crate::world::Call;
use crate::world::docker::names;

impl Images {
    pub(super) async fn pull(&self, call: &Call, request: &PullImage) -> Result<Image, EffectError> {
        // Without a tag, the engine would pull all tags.
        let name = with_tag(names::validate_image(&request.image)?);
        let given = (request.username.as_ref(), request.password.as_ref());
        let config = self.client.config_folder.as_deref();
        let auth = credentials::for_registry(config, registry(&name), given, &call.vault).await?;
        let options = CreateImageOptionsBuilder::new().from_image(&name).build();
        let pull = async {
            let mut progress = TransferProgress::default();
            let mut stream = self.client.docker.create_image(Some(options), None, auth);
            while let Some(message) =
                stream.try_next().await.map_err(|error| transfer_error(error, TransferDirection::Pull, &name))?
            {
                progress.report(call, message.id, message.status, message.progress_detail);
            }
            Ok(())
        };
        within_timeout(call, &format!("the pull of image `{name}`"), request.timeout, pull).await?;
        self.find(&name).await?.ok_or_else(|| image_not_found(&name))
    }
}
