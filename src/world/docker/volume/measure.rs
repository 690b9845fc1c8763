//! Measures how much a volume holds.

use std::path::PathBuf;

use super::Volumes;
use super::copy_files::{has_folder, run_stoppable};
use crate::effect::EffectError;
use crate::effect::volume::volume_not_found;
use crate::effect::volume::{MeasureVolume, VolumeSize};
use crate::world::Call;
use crate::world::folder_copy;

impl Volumes {
    /// Measures by files where the volume's folder can be read, else through the engine.
    pub(super) async fn measure(&self, call: &Call, request: &MeasureVolume) -> Result<VolumeSize, EffectError> {
        let Some(volume) = self.api.find(&request.volume).await? else {
            return Err(volume_not_found(&request.volume));
        };
        self.expect_complete(&request.volume).await?;
        let (volumes, folder) = (self.clone(), PathBuf::from(&volume.mountpoint));
        let can_read_files = self.client.is_on_this_host() && has_folder(&volume) && std::fs::read_dir(&folder).is_ok();
        let name = request.volume.clone();
        let measured = self.run_in_task(call, request.timeout, move |call, stop| async move {
            if !can_read_files {
                return volumes.measure_through_engine(&call, &name, &stop).await;
            }
            let size = run_stoppable(&stop, move |stopped| folder_copy::measure_folder(&folder, stopped)).await?;
            Ok(VolumeSize { bytes: size.bytes, files: Some(size.files) })
        });
        measured.await.map_err(EffectError::not_applied)
    }
}
