//! Creates volumes.

use std::collections::HashMap;

use super::Volumes;
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::volume::{CreateVolume, Volume};
use crate::world::Call;
use crate::world::docker::names;

impl Volumes {
    pub(super) async fn create(&self, call: &Call, request: &CreateVolume) -> Result<Volume, EffectError> {
        let mut labels: HashMap<String, String> = request.labels.clone().into_iter().collect();
        labels.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        labels.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        names::validate("volume", &request.name)?;
        self.expect_complete(&request.name).await?;
        self.api.create(&request.name, labels).await.map(|volume| self.identified(volume))
    }
}
