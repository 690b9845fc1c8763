//! Makes files of a volume available on this machine: in place where the volume's folder can be read, else as a copy
//! fetched through a container that is never started.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::Volumes;
use super::copy_container::{CopyContainer, VOLUME_MOUNT};
use crate::effect::volume::{path_outside_volume, volume_file_not_found, volume_not_found};
use crate::effect::{EffectError, ErrorKind};
use crate::world::docker::error::{Subject, await_reply_within, none_if_missing};
use crate::world::engine::VolumeFile;
use crate::world::private_folder;

/// The suffixes of files beside a database. Without them a copy could miss the latest changes.
const SIBLINGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The deadline of the copy of one file.
const COPY_DEADLINE: Duration = Duration::from_secs(300);

impl Volumes {
    /// Makes a file of the volume available on this machine. `.` is the whole volume.
    pub(in crate::world::docker) async fn file(&self, volume: &str, path: &str) -> Result<VolumeFile, EffectError> {
        let relative = relative_path(path).ok_or_else(|| path_outside_volume(&path))?;
        let found = self.api.find(volume).await?.ok_or_else(|| volume_not_found(volume))?;
        // A volume with options may be mounted only while a container uses it.
        if self.client.is_on_this_host() && found.driver == "local" && found.options.is_empty() {
            let root = PathBuf::from(&found.mountpoint);
            if std::fs::read_dir(&root).is_ok() {
                return path_in_place(volume, &root, &relative).map(VolumeFile::in_place);
            }
        }
        self.fetch_copy(volume, &relative).await
    }

    /// Copies a file and its database files, or the whole volume, into a temporary folder.
    async fn fetch_copy(&self, volume: &str, relative: &Path) -> Result<VolumeFile, EffectError> {
        let copy_failed = |error: std::io::Error| copy_error(volume, &error);
        let folder = private_folder::create().map_err(copy_failed)?;
        let container = self.copy_container(volume, None, true).await?;
        if relative.as_os_str().is_empty() {
            let exists = fetch(&container, ".", folder.path(), volume).await?;
            let path = folder.path().to_owned();
            container.remove().await;
            return if exists {
                Ok(VolumeFile::copied(path, folder))
            } else {
                Err(missing_file(volume, Path::new(".")))
            };
        }
        let text = relative.to_string_lossy();
        let name = relative.file_name().map(PathBuf::from).unwrap_or_default();
        let mut fetched = fetch(&container, &text, folder.path(), volume).await;
        if matches!(fetched, Ok(true)) {
            for sibling in SIBLINGS {
                if let Err(error) = fetch(&container, &format!("{text}{sibling}"), folder.path(), volume).await {
                    fetched = Err(error);
                    break;
                }
            }
        }
        container.remove().await;
        let path = folder.path().join(&name);
        // A link in the volume arrives as a link, which leads nowhere on this machine.
        if fetched? && path.is_file() | path.is_dir() {
            Ok(VolumeFile::copied(path, folder))
        } else {
            Err(missing_file(volume, relative))
        }
    }
}

/// Fetches a file or folder. Returns false when it does not exist.
async fn fetch(container: &CopyContainer, path: &str, to: &Path, volume: &str) -> Result<bool, EffectError> {
    let copy_failed = |error: std::io::Error| copy_error(volume, &error);
    let id = container.id();
    let options = DownloadFromContainerOptionsBuilder::new().path(&format!("{VOLUME_MOUNT}/{path}")).build();
    let mut stream = container.docker().download_from_container(id, Some(options));
    let mut archive = tokio::fs::File::from_std(tempfile::tempfile_in(to).map_err(copy_failed)?);
    let copy = async {
        while let Some(piece) = stream.try_next().await? {
            archive.write_all(&piece).await?;
        }
        archive.flush().await?;
        Ok::<_, bollard::errors::Error>(())
    };
    if none_if_missing(await_reply_within(COPY_DEADLINE, Subject::Volume(volume), copy).await)?.is_none() {
        return Ok(false);
    }
    let (archive, to) = (archive.into_std().await, to.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || unpack(archive, &to)).await;
    unpacked
        .map_err(|error| EffectError::new(ErrorKind::Internal, format!("unpacking failed: {error}")))?
        .map_err(copy_failed)?;
    Ok(true)
}

fn unpack(mut archive: File, to: &Path) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    archive.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_mtime(true);
    archive.unpack(to)
}

fn path_in_place(volume: &str, root: &Path, relative: &Path) -> Result<PathBuf, EffectError> {
    // A link in the volume must not lead to other files of this machine.
    match (root.canonicalize(), root.join(relative).canonicalize()) {
        (Ok(root), Ok(path)) if path.starts_with(&root) => Ok(path),
        (Ok(_), Ok(_)) => Err(EffectError::new(
            ErrorKind::Invalid,
            format!("`{}` in volume `{volume}` is a link that points outside the volume", relative.display()),
        )
        .not_applied()),
        _ => Err(missing_file(volume, relative)),
    }
}

fn missing_file(volume: &str, relative: &Path) -> EffectError {
    volume_file_not_found(volume, &relative.display())
        .hint(format!("find the volume's folder: docker volume inspect {volume}"))
}

fn copy_error(volume: &str, error: &std::io::Error) -> EffectError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::DiskFull,
        _ => ErrorKind::Failed,
    };
    EffectError::new(kind, format!("cannot copy volume `{volume}`: {error}"))
        .hint("choose another temporary folder with the environment variable `TMPDIR`")
        .not_applied()
}

/// Normalizes the path. Empty for the whole volume, `None` when it leads out of the volume.
fn relative_path(path: &str) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(relative_path("./db/./app.sqlite"), Some("db/app.sqlite".into()));
        assert_eq!(relative_path("."), Some(PathBuf::new()));
        for path in ["..", "db/../../x", "/etc/passwd"] {
            assert_eq!(relative_path(path), None, "{path}");
        }
    }

    #[test]
    fn links_that_point_outside_are_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("db"), "").unwrap();
        std::os::unix::fs::symlink("db", root.path().join("same")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("out")).unwrap();
        assert!(path_in_place("v", root.path(), Path::new("same")).is_ok());
        assert_eq!(path_in_place("v", root.path(), Path::new("out")).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(path_in_place("v", root.path(), Path::new("none")).unwrap_err().kind, ErrorKind::NotFound);
    }
}
