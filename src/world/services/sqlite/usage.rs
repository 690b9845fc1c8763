//! `sqlite_writers`: which containers mount a database, and which processes have it open.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::context::SqliteContext;
use super::location::ResolvedLocation;
use crate::base::mount::Mount;
use crate::effect::EffectError;
use crate::effect::container::Container;
use crate::effect::sqlite::{DatabaseLocation, DatabaseUsers, FileUser, MountUser, OpenDatabase};
use crate::world::services::cancellation::task_failed;

/// Suffixes of the files that SQLite keeps beside a database.
pub(super) const SIBLING_SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The first bytes of a database. Source: the SQLite file format, section 1.3.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// How many open files of one process are looked at.
const MOST_FILES: usize = 4_096;

/// Device and inode.
type FileIdentity = (u64, u64);

/// What was found among the open files of all processes.
#[derive(Default)]
struct OpenFiles {
    users: Vec<FileUser>,
    others: BTreeSet<OpenDatabase>,
}

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
    let (id, open) = tokio::task::spawn_blocking(move || match path {
        Some(path) => (file_id(&path), find_open_files(&path, &names)),
        None => (None, OpenFiles::default()),
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
    let in_use = !open.users.is_empty() || containers.iter().any(|user| user.running && !user.read_only);
    Ok(DatabaseUsers {
        id,
        in_use,
        containers,
        processes: open.users,
        other_databases: open.others.into_iter().collect(),
    })
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

/// Finds the processes, other than deployer itself, that have the database or one of its siblings open, and what other
/// databases the processes of these containers have open.
fn find_open_files(path: &Path, containers: &[(String, String)]) -> OpenFiles {
    let database_files: BTreeSet<FileIdentity> = std::iter::once(path.to_owned())
        .chain(SIBLING_SUFFIXES.iter().map(|suffix| sibling(path, suffix)))
        .filter_map(|path| fs::metadata(path).ok().map(|metadata| identity(&metadata)))
        .collect();
    let mut found = OpenFiles::default();
    if database_files.is_empty() {
        return found;
    }
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids.filter(|pid| *pid != std::process::id()) {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        let files: Vec<PathBuf> = files.flatten().map(|file| file.path()).take(MOST_FILES).collect();
        let is_database =
            |file: &PathBuf| fs::metadata(file).is_ok_and(|found| database_files.contains(&identity(&found)));
        let has_it_open = files.iter().any(is_database);
        let container = container_of(pid, containers);
        if let Some(container) = &container {
            let others = files.iter().filter(|file| !is_database(file)).filter_map(|file| open_database(file));
            found.others.extend(others.map(|path| OpenDatabase { container: container.clone(), path }));
        }
        if has_it_open {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
            found.users.push(FileUser { pid, command, container });
        }
    }
    found
}

/// Returns which of these containers the process runs in.
fn container_of(pid: u32, containers: &[(String, String)]) -> Option<String> {
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let container = containers.iter().find(|(id, _)| !id.is_empty() && cgroup.contains(id.as_str()));
    container.map(|(_, name)| name.clone())
}

/// Returns the path of an open file (an entry of `/proc/PID/fd`) if it is a SQLite database with a name.
fn open_database(file: &Path) -> Option<String> {
    let path = fs::read_link(file).ok()?.to_str()?.to_owned();
    if path.ends_with(" (deleted)") || !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    // A container may exchange the file for a pipe in between: opening one would wait for a writer.
    let mut open = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(file).ok()?;
    let mut header = [0; SQLITE_MAGIC.len()];
    open.read_exact(&mut header).ok()?;
    (header == *SQLITE_MAGIC).then_some(path)
}

fn identity(metadata: &fs::Metadata) -> FileIdentity {
    (metadata.dev(), metadata.ino())
}
