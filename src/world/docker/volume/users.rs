//! The containers that use a volume: who they are, who writes, and halting them.

use std::time::Duration;

use bollard::models::{ContainerState, ContainerSummary, ContainerSummaryStateEnum as State, MountPoint};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};

use super::ROLE_OF_COPIES;
use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::clock::Clock;
use crate::world::docker::DockerEngine;
use crate::world::docker::error::{About, ask, found};

/// Between tries to halt a container: the kernel gives up on processes that are just starting others.
const FREEZE_PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// One container that mounts a volume.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub id: String,
    pub name: String,
    /// It has processes, which may be halted.
    pub lives: bool,
    /// It has processes that can write to the volume now.
    pub writes: bool,
}

impl DockerEngine {
    /// Everybody who mounts the volume, by name or by its folder; copies that are under way aside.
    pub(super) async fn users_of(&self, volume: &str) -> Result<Vec<User>, EffectError> {
        let folder = self.volume_named(volume).await?.map(|volume| volume.mountpoint).unwrap_or_default();
        let options = ListContainersOptionsBuilder::new().all(true).build();
        let all = ask(About::Engine, self.docker.list_containers(Some(options))).await?;
        let is_ours = |container: &ContainerSummary| {
            container.labels.as_ref().and_then(|labels| labels.get(labels::ROLE)).is_some_and(|r| r == ROLE_OF_COPIES)
        };
        let is_mount = |mount: &MountPoint| {
            let below = |source: &String| !folder.is_empty() && source.starts_with(folder.as_str());
            mount.name.as_deref() == Some(volume) || mount.source.as_ref().is_some_and(below)
        };
        let user = |container: ContainerSummary| {
            let mounts: Vec<&MountPoint> = container.mounts.iter().flatten().filter(|mount| is_mount(mount)).collect();
            if mounts.is_empty() {
                return None;
            }
            let can_write = mounts.iter().any(|mount| mount.rw != Some(false));
            let moves = matches!(container.state, Some(State::RUNNING | State::RESTARTING | State::STOPPING));
            let name = container.names.iter().flatten().next().map(|name| name.trim_start_matches('/').to_owned());
            let id = container.id.clone().unwrap_or_default();
            Some(User {
                name: name.unwrap_or_else(|| id.clone()),
                id,
                lives: moves || container.state == Some(State::PAUSED),
                writes: moves && can_write,
            })
        };
        Ok(all.into_iter().filter(|container| !is_ours(container)).filter_map(user).collect())
    }

    /// Refuses a volume whose content somebody has open.
    pub(super) async fn expect_unused(&self, volume: &str) -> Result<(), EffectError> {
        let users: Vec<User> = self.users_of(volume).await?.into_iter().filter(|user| user.lives).collect();
        if users.is_empty() { Ok(()) } else { Err(used(volume, &users, "docker stop")) }
    }

    /// Refuses a volume that even a stopped container mounts, since it has to be made anew.
    pub(super) async fn expect_unmounted(&self, volume: &str) -> Result<(), EffectError> {
        let users = self.users_of(volume).await?;
        if users.is_empty() { Ok(()) } else { Err(used(volume, &users, "docker rm -f")) }
    }

    pub(super) async fn pause(&self, users: &[User]) -> Result<(), EffectError> {
        for user in users {
            let mut pauses = FREEZE_PAUSES.iter();
            while let Err(error) = ask(About::Container(&user.name), self.docker.pause_container(&user.id)).await
                && self.runs(&user.id).await?
            {
                let Some(pause) = pauses.next() else { return Err(error) };
                self.clock.sleep(*pause).await;
            }
        }
        Ok(())
    }

    /// Lets containers go on. Who is gone, or goes on already, is no error.
    pub(super) async fn unpause(&self, ids: &[String]) -> Result<(), EffectError> {
        let mut failed = None;
        for id in ids {
            if let Err(error) = ask(About::Container(id), self.docker.unpause_container(id)).await
                && self.is_paused(id).await?
            {
                failed = Some(EffectError::new(error.kind, error.message).hint(format!("docker unpause {id}")));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether it has processes that go on. One that ended meanwhile writes no more; whoever is started anew is found
    /// after the copy.
    async fn runs(&self, id: &str) -> Result<bool, EffectError> {
        let state = self.state_of(id).await?;
        Ok(state.is_some_and(|state| state.running == Some(true) && state.paused != Some(true)))
    }

    async fn is_paused(&self, id: &str) -> Result<bool, EffectError> {
        Ok(self.state_of(id).await?.is_some_and(|state| state.paused == Some(true)))
    }

    /// None for a container that is gone.
    async fn state_of(&self, id: &str) -> Result<Option<ContainerState>, EffectError> {
        let answer = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        Ok(found(ask(About::Container(id), answer).await)?.and_then(|container| container.state))
    }
}

fn used(volume: &str, users: &[User], remedy: &str) -> EffectError {
    let quoted: Vec<String> = users.iter().map(|user| format!("`{}`", user.name)).collect();
    let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    EffectError::new(ErrorKind::Conflict, format!("volume `{volume}` is used by container {}", quoted.join(", ")))
        .hint(format!("{remedy} {}", names.join(" ")))
        .not_applied()
}

/// The refusal of a copy while these can write.
pub(super) fn written(volume: &str, writers: &[User]) -> EffectError {
    let quoted: Vec<String> = writers.iter().map(|user| format!("`{}`", user.name)).collect();
    let message = format!("container {} can write to volume `{volume}`, so a copy may be torn", quoted.join(", "));
    EffectError::new(ErrorKind::Conflict, message)
        .hint("halt it for the length of the copy: `while_written: \"pause\"`; or copy all the same: `\"allow\"`")
        .not_applied()
}
