//! `sqlite_writers`: whose mounts hold a database, and which processes have it open.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::Services;
use super::super::wait::lost_thread;
use super::place::Located;
use crate::base::mount::Mount;
use crate::effect::container::Container;
use crate::effect::sqlite::{DatabasePlace, DatabaseUsers, FileUser, MountUser};
use crate::effect::{EffectError, ErrorKind};

/// What SQLite keeps beside the file.
pub(super) const SIBLINGS: [&str; 3] = ["-wal", "-shm", "-journal"];

impl Services {
    pub(super) async fn find_users(&self, place: &DatabasePlace) -> Result<DatabaseUsers, EffectError> {
        let located = self.locate(place).await?;
        self.users_of(&located).await.map_err(EffectError::not_applied)
    }

    pub(super) async fn users_of(&self, located: &Located) -> Result<DatabaseUsers, EffectError> {
        // Where the engine is elsewhere, neither files nor processes can be seen; its containers can.
        let path = if self.engine.is_here() { Some(self.reach_to_write(located).await?) } else { None };
        let containers: Vec<(Container, bool)> = self
            .engine
            .containers()
            .await?
            .into_iter()
            .filter_map(|container| {
                let read_only = holds(&container, located, path.as_deref())?;
                Some((container, read_only))
            })
            .collect();
        let names: Vec<(String, String)> =
            containers.iter().map(|(container, _)| (container.id.clone(), container.name.clone())).collect();
        let (id, processes) = tokio::task::spawn_blocking(move || match path {
            Some(path) => (file_id(&path), openers(&path, &names)),
            None => (None, Vec::new()),
        })
        .await
        .map_err(|error| lost_thread(&error))?;
        let containers: Vec<MountUser> = containers
            .into_iter()
            .map(|(container, read_only)| MountUser {
                running: container.is_running(),
                name: container.name,
                id: container.id,
                read_only,
            })
            .collect();
        let in_use = !processes.is_empty() || containers.iter().any(|user| user.running && !user.read_only);
        Ok(DatabaseUsers { id, in_use, containers, processes })
    }

    /// Passes when nobody could write to it.
    pub(super) async fn refuse_used(&self, place: &DatabasePlace, located: &Located) -> Result<(), EffectError> {
        let users = self.users_of(located).await.map_err(EffectError::not_applied)?;
        if !users.in_use {
            return Ok(());
        }
        let names = users.names().join(", ");
        Err(EffectError::new(ErrorKind::Conflict, format!("database `{place}` is in use by {names}"))
            .hint("stop them first: `docker_stop`")
            .not_applied())
    }
}

/// Whether the file is on one of the container's mounts: then, whether on read-only ones alone.
fn holds(container: &Container, located: &Located, path: Option<&Path>) -> Option<bool> {
    let mounts = container.mounts.iter().filter_map(|mount| mount.parse::<Mount>().ok());
    let holding: Vec<Mount> = mounts
        .filter(|mount| match (mount.is_volume(), located) {
            (true, Located::Volume { volume, .. }) => mount.source == *volume,
            (true, Located::Host(_)) => false,
            (false, _) => path.is_some_and(|path| {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let source = fs::canonicalize(&mount.source).unwrap_or_else(|_| PathBuf::from(&mount.source));
                path.starts_with(source)
            }),
        })
        .collect();
    (!holding.is_empty()).then(|| holding.iter().all(|mount| mount.read_only))
}

/// Tells a file from every other one that is on its disk at the same time.
pub(super) fn file_id(path: &Path) -> Option<String> {
    fs::metadata(path).ok().map(|metadata| format!("{:x}", metadata.ino()))
}

pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The processes that have the file or one of its siblings open, deployer itself left out.
fn openers(path: &Path, containers: &[(String, String)]) -> Vec<FileUser> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let wanted: BTreeSet<(u64, u64)> = std::iter::once(path.to_owned())
        .chain(SIBLINGS.iter().map(|suffix| sibling(path, suffix)))
        .filter_map(|path| identity(&path))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files.flatten().any(|file| identity(&file.path()).is_some_and(|found| wanted.contains(&found)))
        })
        .map(|pid| {
            let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let container = containers.iter().find(|(id, _)| !id.is_empty() && cgroup.contains(id.as_str()));
            FileUser {
                pid,
                command: fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(),
                container: container.map(|(_, name)| name.clone()),
            }
        })
        .collect()
}
