//! `sqlite_writers`: which containers mount a database, and which processes have it open.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::context::SqliteContext;
use super::location::ResolvedLocation;
use crate::base::mount::Mount;
use crate::effect::EffectError;
use crate::effect::container::Container;
use crate::effect::sqlite::{DatabaseLocation, DatabaseUsers, FileUser, MountUser};
use crate::world::services::cancellation::task_failed;

/// Suffixes of the files that SQLite keeps beside a database.
pub(super) const SIBLING_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Returns who uses a database.
pub(super) async fn find_users(
    context: &SqliteContext,
    location: &DatabaseLocation,
) -> Result<DatabaseUsers, EffectError> {
    let resolved = context.locator.locate(location).await?;
    users_of(context, &resolved).await.map_err(EffectError::not_applied)
}

async fn users_of(context: &SqliteContext, location: &ResolvedLocation) -> Result<DatabaseUsers, EffectError> {
    // On another machine, only the engine's containers can be seen, but neither files nor processes.
    let path =
        if context.engine.is_on_this_host() { Some(context.locator.writable_path(location).await?) } else { None };
    let containers: Vec<(Container, bool)> = context
        .engine
        .containers()
        .await?
        .into_iter()
        .filter_map(|container| {
            let read_only = mounts_read_only(&container, location, path.as_deref())?;
            Some((container, read_only))
        })
        .collect();
    let names: Vec<(String, String)> =
        containers.iter().map(|(container, _)| (container.id.clone(), container.name.clone())).collect();
    let (id, processes) = tokio::task::spawn_blocking(move || match path {
        Some(path) => (file_id(&path), processes_with_open_files(&path, &names)),
        None => (None, Vec::new()),
    })
    .await
    .map_err(|error| task_failed(&error))?;
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

/// Fails if a container or a process could write to the database.
pub(super) async fn refuse_if_used(
    context: &SqliteContext,
    location: &DatabaseLocation,
    resolved: &ResolvedLocation,
) -> Result<(), EffectError> {
    users_of(context, resolved).await.map_err(EffectError::not_applied)?.refuse_in_use(location)
}

/// Returns whether all mounts of the container that hold the file are read-only; `None` if no mount holds it.
fn mounts_read_only(container: &Container, location: &ResolvedLocation, path: Option<&Path>) -> Option<bool> {
    let mounts = container.mounts.iter().filter_map(|mount| mount.parse::<Mount>().ok());
    let holding: Vec<Mount> = mounts
        .filter(|mount| match (mount.is_volume(), location) {
            (true, ResolvedLocation::Volume { volume, .. }) => mount.source == *volume,
            (true, ResolvedLocation::Host(_)) => false,
            (false, _) => path.is_some_and(|path| {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let source = fs::canonicalize(&mount.source).unwrap_or_else(|_| PathBuf::from(&mount.source));
                path.starts_with(source)
            }),
        })
        .collect();
    (!holding.is_empty()).then(|| holding.iter().all(|mount| mount.read_only))
}

/// Identifies a file among all that exist on its disk at the same time.
pub(super) fn file_id(path: &Path) -> Option<String> {
    fs::metadata(path).ok().map(|metadata| format!("{:x}", metadata.ino()))
}

/// Returns the path of a file that SQLite keeps beside a database.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Returns the processes, other than deployer itself, that have the database or one of its siblings open.
fn processes_with_open_files(path: &Path, containers: &[(String, String)]) -> Vec<FileUser> {
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let database_files: BTreeSet<(u64, u64)> = std::iter::once(path.to_owned())
        .chain(SIBLING_SUFFIXES.iter().map(|suffix| sibling(path, suffix)))
        .filter_map(|path| identity(&path))
        .collect();
    if database_files.is_empty() {
        return Vec::new();
    }
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            files.flatten().any(|file| identity(&file.path()).is_some_and(|found| database_files.contains(&found)))
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
