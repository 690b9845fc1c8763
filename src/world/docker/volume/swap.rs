//! `volume_swap`: two volumes exchange their folders, in one step of the file system.

use std::path::Path;
use std::sync::Arc;

use bollard::models::Volume as EngineVolume;

use super::fill::has_folder;
use crate::effect::volume::{SwapVolumes, Swapped};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::docker::{DockerEngine, names};
use crate::world::replica::{content_id, exchange};

impl DockerEngine {
    pub(super) async fn swap_volumes(
        self: &Arc<Self>,
        call: &Call,
        request: &SwapVolumes,
    ) -> Result<Swapped, EffectError> {
        names::plain("volume", &request.volume)?;
        names::plain("volume", &request.other)?;
        if request.volume == request.other {
            let message = format!("volume `{}` cannot be exchanged with itself", request.volume);
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        // Always in the same order, so that two who exchange the same volumes do not wait for each other.
        let (first, second) = match request.volume < request.other {
            true => (&request.volume, &request.other),
            false => (&request.other, &request.volume),
        };
        let held = self.hold_volume(call, first).await?;
        let swapped = match self.hold_volume(call, second).await {
            Ok(other) => {
                let swapped = self.swap_held(request, held.sees_files && other.sees_files).await;
                let released = other.release().await;
                swapped.and_then(|swapped| released.map(|()| swapped))
            }
            Err(error) => Err(error),
        };
        let released = held.release().await;
        swapped.and_then(|swapped| released.map(|()| swapped))
    }

    async fn swap_held(&self, request: &SwapVolumes, sees_files: bool) -> Result<Swapped, EffectError> {
        let (one, other) = (self.swappable(&request.volume).await?, self.swappable(&request.other).await?);
        let folders = (Path::new(&one.mountpoint), Path::new(&other.mountpoint));
        let ids = (content_id(folders.0), content_id(folders.1));
        if !sees_files || !has_folder(&one) || !has_folder(&other) || ids.0.is_none() || ids.1.is_none() {
            let message = format!(
                "the folders of volumes `{}` and `{}` cannot be reached from here, and the engine cannot exchange them",
                request.volume, request.other
            );
            return Err(EffectError::new(ErrorKind::Unsupported, message)
                .hint("run deployer as root on the engine's machine; or copy with `volume_restore`")
                .not_applied());
        }
        match &request.back_to {
            Some(_) if ids.0 == request.back_to => return Ok(Swapped { swapped: false }),
            Some(_) if ids.1 != request.back_to => {
                let message = format!("what volume `{}` held is in neither of the two", request.volume);
                return Err(EffectError::new(ErrorKind::Conflict, message).not_applied());
            }
            _ => {}
        }
        self.expect_unused(&request.volume).await?;
        self.expect_unused(&request.other).await?;
        exchange(folders.0, folders.1)?;
        Ok(Swapped { swapped: true })
    }

    async fn swappable(&self, volume: &str) -> Result<EngineVolume, EffectError> {
        let found = self.volume_named(volume).await?.ok_or_else(|| super::missing_volume(volume))?;
        self.expect_whole(volume).await?;
        Ok(found)
    }
}
