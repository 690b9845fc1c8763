//! Containers that are created to copy a volume and are never started: the engine reads and writes archives through
//! them.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveContainerOptionsBuilder,
};

use super::unfinished::marker_name;
use super::{COPY_ROLE, Volumes};
use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply, none_if_missing};

/// Where the volume is mounted in the container: a path that no image contains.
pub(super) const VOLUME_MOUNT: &str = "/.deployer-volume";

/// Where the marker volume is mounted.
const MARKER_MOUNT: &str = "/.deployer-mark";

/// How many images to try for the container: another process may remove one meanwhile.
const IMAGES_TRIED: usize = 5;

/// How long to wait for a removal that is in progress, and how often to check.
const REMOVAL_WAIT: Duration = Duration::from_secs(10);
const REMOVAL_POLL: Duration = Duration::from_millis(20);

impl Volumes {
    /// Creates a container that is never started, to read or write `volume`. Any image will do, since nothing of it
    /// runs. `to` names the volume that is being filled: while the container exists, no cleanup removes that volume or
    /// its marker.
    pub(super) async fn copy_container(
        &self,
        volume: &str,
        to: Option<&str>,
        read_only: bool,
    ) -> Result<CopyContainer, EffectError> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = await_reply(Subject::Engine, self.client.docker.list_images(Some(options))).await?;
        let mut missing =
            EffectError::new(ErrorKind::NotFound, format!("volume `{volume}` cannot be read: the engine has no image"))
                .hint("pull any image, which the copy needs: docker pull busybox")
                .not_applied();
        // The engine lists the newest first. The oldest is the least likely to be removed meanwhile, which a container that
        // uses the image prevents.
        for image in images.into_iter().rev().take(IMAGES_TRIED) {
            let body = copy_body(image.id, volume, to, read_only);
            match await_reply(
                Subject::Volume(volume),
                self.client.docker.create_container(None::<CreateContainerOptions>, body),
            )
            .await
            {
                Ok(created) => return Ok(CopyContainer { docker: self.client.docker.clone(), id: Some(created.id) }),
                Err(error) if error.kind == ErrorKind::NotFound => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }

    /// Removes the containers that served the copy into this volume.
    pub(super) async fn remove_copy_containers(&self, to: &str) -> Result<(), EffectError> {
        let role_and_target = [format!("{}={COPY_ROLE}", labels::ROLE), format!("{}={to}", labels::COPY_TO)];
        let filters = HashMap::from([("label", role_and_target.to_vec())]);
        let end_ms = self.client.clock.steady_ms() + REMOVAL_WAIT.as_millis() as u64;
        loop {
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let remaining = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
            if remaining.is_empty() {
                return Ok(());
            }
            for id in remaining.into_iter().filter_map(|container| container.id) {
                let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
                match none_if_missing(
                    await_reply(Subject::Container(&id), self.client.docker.remove_container(&id, Some(options))).await,
                ) {
                    Ok(_) => {}
                    // It is being removed already.
                    Err(error) if error.kind == ErrorKind::Conflict && self.client.clock.steady_ms() < end_ms => {}
                    Err(error) => return Err(error),
                }
            }
            self.client.clock.sleep(REMOVAL_POLL).await;
        }
    }
}

fn copy_body(image: String, volume: &str, to: Option<&str>, read_only: bool) -> ContainerCreateBody {
    let labels = [(labels::ROLE, COPY_ROLE)].into_iter().chain(to.map(|to| (labels::COPY_TO, to)));
    let mount = |volume: String, target: &str, read_only| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume),
        target: Some(target.into()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    let marker = to.map(|to| mount(marker_name(to), MARKER_MOUNT, true));
    ContainerCreateBody {
        image: Some(image),
        // It never runs, but the engine requires a command.
        cmd: Some(vec!["never-started".into()]),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            mounts: Some([mount(volume.to_owned(), VOLUME_MOUNT, read_only)].into_iter().chain(marker).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// A container that serves a copy. Removed at the end, even when the caller is dropped.
pub(super) struct CopyContainer {
    docker: Docker,
    id: Option<String>,
}

impl CopyContainer {
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    pub(super) async fn remove(mut self) {
        if let Some(id) = self.id.take() {
            remove(self.docker.clone(), id).await;
        }
    }
}

impl Drop for CopyContainer {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(remove(self.docker.clone(), id));
        }
    }
}

async fn remove(docker: Docker, id: String) {
    let options = RemoveContainerOptionsBuilder::new().v(true).force(true).build();
    if let Err(error) = await_reply(Subject::Container(&id), docker.remove_container(&id, Some(options))).await {
        tracing::warn!(container = %id, %error, "a container that served a copy could not be removed");
    }
}
