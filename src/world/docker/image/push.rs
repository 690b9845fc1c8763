//! Pushes images to a registry.

use bollard::errors::Error;
use bollard::models::ErrorDetail;
use bollard::query_parameters::PushImageOptionsBuilder;
use futures_util::TryStreamExt;

use super::transfer::{TransferProgress, transfer_error, within_timeout};
use super::{Images, credentials};
use crate::effect::EffectError;
use crate::effect::image::{PushImage, Pushed, TransferDirection, image_not_found, registry, with_tag};
use crate::world::Call;
use crate::world::docker::error::{Subject, await_reply};
use crate::world::docker::names;

impl Images {
    pub(super) async fn push(&self, call: &Call, request: &PushImage) -> Result<Pushed, EffectError> {
        let name = with_tag(names::validate_image(&request.image)?);
        if self.find(&name).await?.is_none() {
            return Err(image_not_found(&name));
        }
        let given = (request.username.as_ref(), request.password.as_ref());
        let config = self.client.config_folder.as_deref();
        let auth = credentials::for_registry(config, registry(&name), given, &call.vault).await?;
        let (repository, tag) = names::repository_and_tag(&name);
        let options = PushImageOptionsBuilder::new().tag(&tag).build();
        let push = async {
            let mut progress = TransferProgress::default();
            let mut stream = self.client.docker.push_image(&repository, Some(options), auth);
            while let Some(message) =
                stream.try_next().await.map_err(|error| transfer_error(error, TransferDirection::Push, &name))?
            {
                if let Some(ErrorDetail { message: Some(error), .. }) = message.error_detail {
                    return Err(transfer_error(Error::DockerStreamError { error }, TransferDirection::Push, &name));
                }
                progress.report(call, None, message.status, message.progress_detail);
            }
            Ok(())
        };
        within_timeout(call, &format!("the push of image `{name}`"), request.timeout, push).await?;
        let pushed = await_reply(Subject::Image(&name), self.client.docker.inspect_image(&name)).await?;
        let digests = pushed.repo_digests.unwrap_or_default();
        let digest = digests.iter().filter_map(|digest| digest.split_once('@')).find_map(|(pushed_to, digest)| {
            (names::familiar(pushed_to) == names::familiar(&repository)).then(|| digest.to_owned())
        });
        Ok(Pushed { digest })
    }
}
