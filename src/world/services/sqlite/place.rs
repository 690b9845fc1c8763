//! Where a database is on this machine. Knows no SQL.

use std::path::{Component, Path, PathBuf};

use super::super::Services;
use super::file::wal_alone;
use crate::base::container_ref::ContainerRef;
use crate::base::mount::Mount;
use crate::effect::sqlite::DatabasePlace;
use crate::effect::{EffectError, ErrorKind};
use crate::world::engine::VolumeFile;

/// A database file that can be opened here.
pub(super) struct Reached {
    pub path: PathBuf,
    /// Keeps the copy of a volume that cannot be reached in place.
    _copy: Option<VolumeFile>,
}

/// A place without the container that it was named by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Located {
    Host(PathBuf),
    Volume { volume: String, path: String },
}

/// Where a file is, as the container that mounts it sees it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub located: Located,
    /// The folder inside the container that the volume is mounted on.
    pub target: String,
}

fn invalid(message: String) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message).not_applied()
}

impl Services {
    pub(super) async fn locate(&self, place: &DatabasePlace) -> Result<Located, EffectError> {
        match (&place.volume, &place.container) {
            (Some(_), Some(_)) => Err(invalid(format!("`{place}`: `volume` and `container` cannot both be given"))),
            (Some(volume), None) => Ok(Located::Volume { volume: volume.clone(), path: place.path.clone() }),
            (None, Some(container)) => self.seen_by(container, &place.path).await.map(|seen| seen.located),
            (None, None) => Ok(Located::Host(place.path.clone().into())),
        }
    }

    /// The file that a container has at this path, if it is on one of its mounts.
    pub(super) async fn seen_by(&self, container: &ContainerRef, path: &str) -> Result<Seen, EffectError> {
        let found = self.engine.look(container).await?.ok_or_else(|| {
            EffectError::new(ErrorKind::NotFound, format!("container `{container}` does not exist")).not_applied()
        })?;
        let inside = Path::new(path);
        if !inside.is_absolute() {
            return Err(invalid(format!(
                "`{path}` is where container `{container}` has the file, so it begins with a slash"
            )));
        }
        let mounts: Vec<Mount> = found.mounts.iter().filter_map(|mount| mount.parse().ok()).collect();
        let mount = mounts
            .iter()
            .filter(|mount| inside.starts_with(&mount.target))
            .max_by_key(|mount| mount.target.len())
            .ok_or_else(|| {
                EffectError::unsupported(
                    format!("reading `{path}` among container `{container}`'s own files"),
                    self.engine.name(),
                )
                .hint("keep the database on a volume: what is in the container itself is gone with the container")
            })?;
        let rest = inside.strip_prefix(&mount.target).unwrap_or(inside);
        let located = if mount.is_volume() {
            Located::Volume { volume: mount.source.clone(), path: rest.display().to_string() }
        } else {
            self.must_be_here("a folder of the engine's machine")?;
            Located::Host(Path::new(&mount.source).join(rest))
        };
        Ok(Seen { located, target: mount.target.clone() })
    }

    fn must_be_here(&self, what: &str) -> Result<(), EffectError> {
        if self.engine.is_here() {
            return Ok(());
        }
        Err(EffectError::unsupported(format!("{what} from another machine"), self.engine.name())
            .hint("run deployer on the engine's own machine"))
    }

    /// The file for reading: in place, or as a copy.
    pub(super) async fn reach(&self, located: &Located) -> Result<Reached, EffectError> {
        match located {
            Located::Host(path) => Ok(Reached { path: path.clone(), _copy: None }),
            Located::Volume { volume, path } => {
                let file = match self.engine.volume_file(volume, path).await {
                    Err(error) if error.kind == ErrorKind::NotFound => {
                        // What waits in the log is lost to whoever takes this for a database that is yet to be made.
                        let wal = self.engine.volume_file(volume, &format!("{path}-wal")).await;
                        return Err(if wal.is_ok() { wal_alone(&format!("{volume}:{path}")) } else { error });
                    }
                    found => found?,
                };
                Ok(Reached { path: file.path().to_owned(), _copy: Some(file) })
            }
        }
    }

    /// The folder of a volume, for writing.
    pub(super) async fn folder_of(&self, volume: &str) -> Result<PathBuf, EffectError> {
        self.must_be_here("writing to a volume")?;
        let folder = self.engine.volume_file(volume, ".").await.map_err(EffectError::not_applied)?;
        in_place(volume, &folder).map(|()| folder.path().to_owned())
    }

    /// The file itself, for writing; it need not be there yet, but its folder must.
    pub(super) async fn reach_to_write(&self, located: &Located) -> Result<PathBuf, EffectError> {
        let (volume, path) = match located {
            // A link is followed: SQLite keeps its other files beside the file that the link points to.
            Located::Host(path) => return Ok(path.canonicalize().unwrap_or_else(|_| path.clone())),
            Located::Volume { volume, path } => (volume, path),
        };
        self.must_be_here("writing to a volume")?;
        match self.engine.volume_file(volume, path).await {
            Ok(file) => in_place(volume, &file).map(|()| file.path().to_owned()),
            Err(error) if error.kind == ErrorKind::NotFound => {
                let relative = Path::new(path);
                let is_inside =
                    relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
                let name = relative.file_name().filter(|_| is_inside);
                let name = name.ok_or_else(|| invalid(format!("`{path}` is not a path inside a volume")))?;
                let parent =
                    relative.parent().map(|parent| parent.display().to_string()).filter(|text| !text.is_empty());
                let folder = self.engine.volume_file(volume, parent.as_deref().unwrap_or(".")).await?;
                in_place(volume, &folder)?;
                Ok(folder.path().join(name))
            }
            Err(error) => Err(error),
        }
    }
}

fn in_place(volume: &str, file: &VolumeFile) -> Result<(), EffectError> {
    if !file.is_copy() {
        return Ok(());
    }
    Err(EffectError::new(ErrorKind::Refused, format!("volume `{volume}` cannot be written to from here"))
        .hint("run deployer as root on the engine's own machine")
        .not_applied())
}
