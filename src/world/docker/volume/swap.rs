//! Swaps two volumes: exchanges their folders in one step of the file system.

use std::path::Path;

use bollard::models::Volume as EngineVolume;

use super::Volumes;
use super::copy_files::has_folder;
use crate::effect::volume::volume_not_found;
use crate::effect::volume::{SwapVolumes, Swapped};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::names;
use crate::world::folder_copy::{content_id, exchange_folders};

impl Volumes {
    pub(super) async fn swap(&self, call: &Call, request: &SwapVolumes) -> Result<Swapped, EffectError> {
        names::validate("volume", &request.volume)?;
        names::validate("volume", &request.other)?;
        request.validate()?;
        // Always lock in the same order, so that two concurrent swaps cannot deadlock.
        let (first, second) = match request.volume < request.other {
            true => (&request.volume, &request.other),
            false => (&request.other, &request.volume),
        };
        let first_lock = self.lock(call, first).await?;
        let swapped = match self.lock(call, second).await {
            Ok(second_lock) => {
                let swapped = self.swap_locked(request, first_lock.sees_files && second_lock.sees_files).await;
                let released = second_lock.release().await;
                swapped.and_then(|swapped| released.map(|()| swapped))
            }
            Err(error) => Err(error),
        };
        let released = first_lock.release().await;
        swapped.and_then(|swapped| released.map(|()| swapped))
    }

    async fn swap_locked(&self, request: &SwapVolumes, sees_files: bool) -> Result<Swapped, EffectError> {
        let (volume, other) = (self.swappable(&request.volume).await?, self.swappable(&request.other).await?);
        let folders = (Path::new(&volume.mountpoint), Path::new(&other.mountpoint));
        let ids = (content_id(folders.0), content_id(folders.1));
        if !sees_files || !has_folder(&volume) || !has_folder(&other) || ids.0.is_none() || ids.1.is_none() {
            let message = format!(
                "the folders of volumes `{}` and `{}` are not reachable from this machine, and the engine cannot exchange them",
                request.volume, request.other
            );
            return Err(EffectError::new(ErrorKind::Unsupported, message)
                .hint("run deployer as root on the engine's machine, or copy with `volume_restore`")
                .not_applied());
        }
        if !request.is_needed(ids.0.as_deref(), ids.1.as_deref())? {
            return Ok(Swapped { swapped: false });
        }
        self.expect_unused(&request.volume).await?;
        self.expect_unused(&request.other).await?;
        exchange_folders(folders.0, folders.1)?;
        Ok(Swapped { swapped: true })
    }

    async fn swappable(&self, volume: &str) -> Result<EngineVolume, EffectError> {
        let found = self.api.find(volume).await?.ok_or_else(|| volume_not_found(volume))?;
        self.expect_complete(volume).await?;
        Ok(found)
    }
}
