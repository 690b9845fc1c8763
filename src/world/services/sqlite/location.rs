//! Finds the file of a database on this machine. Knows no SQL.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::connection::{wal_without_database, with_resolved_folder};
use crate::base::container_ref::ContainerRef;
use crate::base::mount::Mount;
use crate::effect::container::container_not_found;
use crate::effect::sqlite::DatabaseLocation;
use crate::effect::volume::path_outside_volume;
use crate::effect::{EffectError, ErrorKind};
use crate::world::engine::{Engine, VolumeFile};

/// A database file that can be opened for reading.
pub(super) struct ReadableDatabase {
    pub path: PathBuf,
    /// Keeps the copy of a volume that cannot be reached in place.
    _copy: Option<VolumeFile>,
}

/// Where a database is, without the container that it was named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ResolvedLocation {
    Host(PathBuf),
    Volume { volume: String, path: String },
}

/// A database on a mount of a container.
#[derive(Clone, Debug)]
pub(super) struct MountedDatabase {
    pub location: ResolvedLocation,
    /// The folder in the container that the volume or host folder is mounted on.
    pub target: String,
}

/// Resolves database places to files.
#[derive(Clone)]
pub(super) struct DatabaseLocator {
    engine: Arc<dyn Engine>,
}

impl DatabaseLocator {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    pub(super) async fn locate(&self, location: &DatabaseLocation) -> Result<ResolvedLocation, EffectError> {
        location.validate()?;
        match (&location.volume, &location.container) {
            (Some(volume), _) => Ok(ResolvedLocation::Volume { volume: volume.clone(), path: location.path.clone() }),
            (None, Some(container)) => self.mounted_at(location, container).await.map(|mounted| mounted.location),
            (None, None) => Ok(ResolvedLocation::Host(location.path.clone().into())),
        }
    }

    /// Returns the file at this path of a container, which must be on one of its mounts.
    pub(super) async fn mounted_at(
        &self,
        location: &DatabaseLocation,
        container: &ContainerRef,
    ) -> Result<MountedDatabase, EffectError> {
        let found = self.engine.find_container(container).await?.ok_or_else(|| container_not_found(container))?;
        let path = &location.path;
        let inside = Path::new(path);
        if !inside.is_absolute() {
            return Err(EffectError::invalid(format!(
                "`{path}` is a path in container `{container}`, so it must start with a slash"
            )));
        }
        let mounts: Vec<Mount> = found.mounts.iter().filter_map(|mount| mount.parse().ok()).collect();
        let mount = mounts
            .iter()
            .filter(|mount| inside.starts_with(&mount.target))
            .max_by_key(|mount| mount.target.len())
            .ok_or_else(|| location.not_on_volume(self.engine.name()))?;
        let rest = inside.strip_prefix(&mount.target).unwrap_or(inside);
        let location = if mount.is_volume() {
            ResolvedLocation::Volume { volume: mount.source.clone(), path: rest.display().to_string() }
        } else {
            self.require_local_engine("a folder of the engine's machine")?;
            ResolvedLocation::Host(beneath(Path::new(&mount.source), rest)?)
        };
        Ok(MountedDatabase { location, target: mount.target.clone() })
    }

    fn require_local_engine(&self, what: &str) -> Result<(), EffectError> {
        if self.engine.is_on_this_host() {
            return Ok(());
        }
        Err(EffectError::unsupported(format!("{what} from another machine"), self.engine.name())
            .hint("run deployer on the engine's own machine"))
    }

    /// Returns the file for reading: in place, or as a copy.
    pub(super) async fn open_for_reading(&self, location: &ResolvedLocation) -> Result<ReadableDatabase, EffectError> {
        match location {
            ResolvedLocation::Host(path) => {
                // SQLite keeps its other files beside the target of a link.
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                Ok(ReadableDatabase { path, _copy: None })
            }
            ResolvedLocation::Volume { volume, path } => {
                let file = match self.engine.volume_file(volume, path).await {
                    Err(error) if error.kind == ErrorKind::NotFound => {
                        // Without this check, the changes in the log would be lost when the app creates a new database.
                        let wal = self.engine.volume_file(volume, &format!("{path}-wal")).await;
                        let subject = format!("{volume}:{path}");
                        return Err(if wal.is_ok() { wal_without_database(&subject) } else { error });
                    }
                    found => found?,
                };
                // The engine has resolved the links in a volume. The volume's own folder may be behind others.
                Ok(ReadableDatabase { path: with_resolved_folder(file.path()), _copy: Some(file) })
            }
        }
    }

    /// Returns the folder of a volume for writing.
    pub(super) async fn writable_folder(&self, volume: &str) -> Result<PathBuf, EffectError> {
        self.require_local_engine("writing to a volume")?;
        let folder = self.engine.volume_file(volume, ".").await.map_err(EffectError::not_applied)?;
        require_in_place(volume, &folder).map(|()| folder.path().to_owned())
    }

    /// Returns the file for writing. It need not exist yet, but its folder must.
    pub(super) async fn writable_path(&self, location: &ResolvedLocation) -> Result<PathBuf, EffectError> {
        let (volume, path) = match location {
            // SQLite keeps its other files beside the target of a link.
            ResolvedLocation::Host(path) => return Ok(path.canonicalize().unwrap_or_else(|_| path.clone())),
            ResolvedLocation::Volume { volume, path } => (volume, path),
        };
        self.require_local_engine("writing to a volume")?;
        match self.engine.volume_file(volume, path).await {
            Ok(file) => require_in_place(volume, &file).map(|()| file.path().to_owned()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let relative = Path::new(path);
                let is_inside =
                    relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                let name = relative.file_name().filter(|_| is_inside);
                let name = name.ok_or_else(|| path_outside_volume(&path))?;
                let parent =
                    relative.parent().map(|parent| parent.display().to_string()).filter(|text| !text.is_empty());
                let folder = self.engine.volume_file(volume, parent.as_deref().unwrap_or(".")).await?;
                require_in_place(volume, &folder)?;
                Ok(folder.path().join(name))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns a path below a folder that a container may write to: a link there must not lead to other files of this machine.
fn beneath(root: &Path, relative: &Path) -> Result<PathBuf, EffectError> {
    let path = root.join(relative);
    let outside = || EffectError::invalid(format!("`{}` points outside of `{}`", path.display(), root.display()));
    if relative.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(outside());
    }
    let Ok(root) = root.canonicalize() else { return Ok(path) };
    match path.canonicalize() {
        Ok(found) if found.starts_with(&root) => Ok(found),
        Ok(_) => Err(outside()),
        // A database that does not exist yet, or a link that leads nowhere.
        Err(_) if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) => Err(outside()),
        Err(_) => Ok(path),
    }
}

fn require_in_place(volume: &str, file: &VolumeFile) -> Result<(), EffectError> {
    if !file.is_copy() {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Refused, format!("volume `{volume}` is not writable from here"))
        .hint("run deployer as root on the engine's own machine")
        .not_applied())
}
