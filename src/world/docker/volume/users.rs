//! Finds the containers that use a volume and those that can write to it, and pauses them.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerState, ContainerSummary, ContainerSummaryStateEnum as State, MountPoint};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};

use super::{COPY_ROLE, Volumes};
use crate::base::labels;
use crate::effect::EffectError;
use crate::effect::volume::{volume_in_use, volume_in_use_by_running};
use crate::world::clock::Clock;
use crate::world::docker::error::{Subject, await_reply, none_if_missing};

/// The pauses between attempts to pause a container: the kernel gives up on processes that are just starting others.
const PAUSE_RETRY_DELAYS: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// A container that mounts a volume.
#[derive(Clone, Debug)]
pub(super) struct VolumeUser {
    pub id: String,
    pub name: String,
    /// Whether it has processes, running or paused.
    pub is_alive: bool,
    /// Whether it has running processes that can write to the volume.
    pub is_writer: bool,
}

impl Volumes {
    /// Lists the containers that mount the volume, by its name or its folder, except those that serve a copy.
    pub(super) async fn users(&self, volume: &str) -> Result<Vec<VolumeUser>, EffectError> {
        let folder = self.api.find(volume).await?.map(|volume| volume.mountpoint).unwrap_or_default();
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = await_reply(Subject::Engine, self.client.docker.list_containers(Some(options))).await?;
        let serves_copy = |container: &ContainerSummary| {
            container.labels.as_ref().and_then(|labels| labels.get(labels::ROLE)).is_some_and(|r| r == COPY_ROLE)
        };
        let is_mount = |mount: &MountPoint| {
            let below = |source: &String| !folder.is_empty() && Path::new(source).starts_with(&folder);
            mount.name.as_deref() == Some(volume) || mount.source.as_ref().is_some_and(below)
        };
        let user = |container: ContainerSummary| {
            let mounts: Vec<&MountPoint> = container.mounts.iter().flatten().filter(|mount| is_mount(mount)).collect();
            if mounts.is_empty() {
                return None;
            }
            let can_write = mounts.iter().any(|mount| mount.rw != Some(false));
            let is_running = matches!(container.state, Some(State::RUNNING | State::RESTARTING | State::STOPPING));
            let name = container.names.iter().flatten().next().map(|name| name.trim_start_matches('/').to_owned());
            let id = container.id.clone().unwrap_or_default();
            Some(VolumeUser {
                name: name.unwrap_or_else(|| id.clone()),
                id,
                is_alive: is_running || container.state == Some(State::PAUSED),
                is_writer: is_running && can_write,
            })
        };
        Ok(all.into_iter().filter(|container| !serves_copy(container)).filter_map(user).collect())
    }

    /// Fails when a container with processes mounts the volume.
    pub(super) async fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users: Vec<VolumeUser> = self.users(volume).await?.into_iter().filter(|user| user.is_alive).collect();
        if users.is_empty() { Ok(()) } else { Err(volume_in_use_by_running(volume, &names_of(&users))) }
    }

    /// Fails when any container mounts the volume, even a stopped one: the volume must be recreated.
    pub(super) async fn expect_unmounted(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.users(volume).await?;
        if users.is_empty() { Ok(()) } else { Err(volume_in_use(volume, &names_of(&users))) }
    }

    /// Pauses the containers.
    pub(super) async fn pause(&self, users: &[VolumeUser]) -> Result<(), EffectError> {
        for user in users {
            let mut delays = PAUSE_RETRY_DELAYS.iter();
            while let Err(error) =
                await_reply(Subject::Container(&user.name), self.client.docker.pause_container(&user.id)).await
                && self.is_running(&user.id).await?
            {
                let Some(delay) = delays.next() else { return Err(error) };
                self.client.clock.sleep(*delay).await;
            }
        }
        Ok(())
    }

    /// Unpauses the containers. Containers that are gone or already running are no error.
    pub(super) async fn unpause(&self, ids: &[String]) -> Result<(), EffectError> {
        let mut failed = None;
        for id in ids {
            if let Err(error) = await_reply(Subject::Container(id), self.client.docker.unpause_container(id)).await
                && self.is_paused(id).await?
            {
                failed = Some(EffectError::new(error.kind, error.message).hint(format!("docker unpause {id}")));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Returns whether it has running processes. A container that exited meanwhile writes no more; one that was started
    /// again is found after the copy.
    async fn is_running(&self, id: &str) -> Result<bool, EffectError> {
        let state = self.state_of(id).await?;
        Ok(state.is_some_and(|state| state.running == Some(true) && state.paused != Some(true)))
    }

    async fn is_paused(&self, id: &str) -> Result<bool, EffectError> {
        Ok(self.state_of(id).await?.is_some_and(|state| state.paused == Some(true)))
    }

    /// Returns the state of the container. `None` when it does not exist.
    async fn state_of(&self, id: &str) -> Result<Option<ContainerState>, EffectError> {
        let reply = self.client.docker.inspect_container(id, None::<InspectContainerOptions>);
        Ok(none_if_missing(await_reply(Subject::Container(id), reply).await)?.and_then(|container| container.state))
    }
}

/// Returns the names of the containers.
pub(super) fn names_of(users: &[VolumeUser]) -> Vec<String> {
    users.iter().map(|user| user.name.clone()).collect()
}
