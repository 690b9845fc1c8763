//! A file of a volume on this machine: the file itself where the volume's folder can be read, else a copy that is
//! fetched through a container that is made for it and never started.

use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptionsBuilder, ListImagesOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::DockerEngine;
use super::error::{About, ask, found, within};
use super::volume::ROLE_OF_COPIES;
use super::volume::mark::name_of;
use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::engine::{Engine, VolumeFile};

/// Where the volume is mounted in the container that is never started: where no image has anything.
pub(super) const INSIDE: &str = "/.deployer-volume";
const MARK_INSIDE: &str = "/.deployer-mark";
/// What a database may have beside its file; without these a copy could miss the latest changes.
const SIBLINGS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// The longest that one file may take on its way.
const COPY_DEADLINE: Duration = Duration::from_secs(300);
/// Images that are tried for the container: others may remove one meanwhile.
const IMAGES_TRIED: usize = 5;

impl DockerEngine {
    pub(super) async fn find_volume_file(&self, volume: &str, path: &str) -> Result<VolumeFile, EffectError> {
        let relative = inside(path).ok_or_else(|| {
            EffectError::new(ErrorKind::Invalid, format!("`{path}` is not a path inside a volume"))
                .hint("write it relative to the volume, without `..`, like `db/app.sqlite`")
                .not_applied()
        })?;
        let found = self.volume_named(volume).await?.ok_or_else(|| {
            EffectError::new(ErrorKind::NotFound, format!("volume `{volume}` does not exist"))
                .hint("list what there is: docker volume ls")
                .not_applied()
        })?;
        // A volume with options may be mounted only while a container uses it.
        if self.is_here() && found.driver == "local" && found.options.is_empty() {
            let root = PathBuf::from(&found.mountpoint);
            if std::fs::read_dir(&root).is_ok() {
                return in_place(volume, &root, &relative).map(VolumeFile::in_place);
            }
        }
        self.copy_of(volume, &relative).await
    }

    async fn copy_of(&self, volume: &str, relative: &Path) -> Result<VolumeFile, EffectError> {
        let broken = |error: std::io::Error| copy_broken(volume, &error);
        let folder = tempfile::Builder::new().prefix("deployer-volume-").tempdir().map_err(broken)?;
        let container = self.copy_container(volume, None, true).await?;
        if relative.as_os_str().is_empty() {
            let there = container.fetch(".", folder.path(), volume).await?;
            let path = folder.path().to_owned();
            container.remove().await;
            return if there {
                Ok(VolumeFile::copied(path, folder))
            } else {
                Err(missing_file(volume, Path::new(".")))
            };
        }
        let text = relative.to_string_lossy();
        let name = relative.file_name().map(PathBuf::from).unwrap_or_default();
        let mut fetched = container.fetch(&text, folder.path(), volume).await;
        if matches!(fetched, Ok(true)) {
            for sibling in SIBLINGS {
                if let Err(error) = container.fetch(&format!("{text}{sibling}"), folder.path(), volume).await {
                    fetched = Err(error);
                    break;
                }
            }
        }
        container.remove().await;
        let path = folder.path().join(&name);
        // A link in the volume comes as a link, which leads nowhere here.
        if fetched? && path.is_file() | path.is_dir() {
            Ok(VolumeFile::copied(path, folder))
        } else {
            Err(missing_file(volume, relative))
        }
    }

    /// A container that is never started, for a copy of `volume` or into it. Any image will do, since nothing of it
    /// is ever run. `to` is the volume whose making it serves: as long as it stands, nobody's clearing up takes that
    /// or the mark that it is not whole.
    pub(super) async fn copy_container(
        &self,
        volume: &str,
        to: Option<&str>,
        read_only: bool,
    ) -> Result<CopyContainer, EffectError> {
        let options = ListImagesOptionsBuilder::new().build();
        let images = ask(About::Engine, self.docker.list_images(Some(options))).await?;
        let mut missing =
            EffectError::new(ErrorKind::NotFound, format!("volume `{volume}` cannot be read: the engine has no image"))
                .hint("the copy needs any image at all, such as: docker pull busybox")
                .not_applied();
        for image in images.into_iter().take(IMAGES_TRIED) {
            let body = copy_body(image.id, volume, to, read_only);
            match ask(About::Volume(volume), self.docker.create_container(None::<CreateContainerOptions>, body)).await {
                Ok(created) => return Ok(CopyContainer { docker: self.docker.clone(), id: Some(created.id) }),
                Err(error) if error.kind == ErrorKind::NotFound => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }
}

fn copy_body(image: String, volume: &str, to: Option<&str>, read_only: bool) -> ContainerCreateBody {
    let labels = [(labels::ROLE, ROLE_OF_COPIES)].into_iter().chain(to.map(|to| (labels::COPY_TO, to)));
    let mount = |volume: String, target: &str, read_only| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume),
        target: Some(target.into()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    let mark = to.map(|to| mount(name_of(to), MARK_INSIDE, true));
    ContainerCreateBody {
        image: Some(image),
        // Never run, but an image without a command cannot be made a container without one.
        cmd: Some(vec!["never-started".into()]),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            mounts: Some([mount(volume.to_owned(), INSIDE, read_only)].into_iter().chain(mark).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The container of a copy: removed at the end, also when nobody waits for the copy any more.
pub(super) struct CopyContainer {
    docker: Docker,
    id: Option<String>,
}

impl CopyContainer {
    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Fetches a file or folder. False when it does not exist.
    async fn fetch(&self, path: &str, to: &Path, volume: &str) -> Result<bool, EffectError> {
        let broken = |error: std::io::Error| copy_broken(volume, &error);
        let id = self.id();
        let options = DownloadFromContainerOptionsBuilder::new().path(&format!("{INSIDE}/{path}")).build();
        let mut stream = self.docker.download_from_container(id, Some(options));
        let mut archive = tokio::fs::File::from_std(tempfile::tempfile_in(to).map_err(broken)?);
        let copy = async {
            while let Some(piece) = stream.try_next().await? {
                archive.write_all(&piece).await?;
            }
            archive.flush().await?;
            Ok::<_, bollard::errors::Error>(())
        };
        if found(within(COPY_DEADLINE, About::Volume(volume), copy).await)?.is_none() {
            return Ok(false);
        }
        let (archive, to) = (archive.into_std().await, to.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || unpack(archive, &to)).await;
        unpacked
            .map_err(|error| EffectError::new(ErrorKind::Internal, format!("unpacking broke off: {error}")))?
            .map_err(broken)?;
        Ok(true)
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
    if let Err(error) = ask(About::Container(&id), docker.remove_container(&id, Some(options))).await {
        tracing::warn!(container = %id, %error, "a container that served for a copy is left behind");
    }
}

fn unpack(mut archive: File, to: &Path) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    archive.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(archive);
    archive.set_preserve_mtime(true);
    archive.unpack(to)
}

fn in_place(volume: &str, root: &Path, relative: &Path) -> Result<PathBuf, EffectError> {
    // A link inside the volume must not lead to the files of this machine.
    match (root.canonicalize(), root.join(relative).canonicalize()) {
        (Ok(root), Ok(path)) if path.starts_with(&root) => Ok(path),
        (Ok(_), Ok(_)) => Err(EffectError::new(
            ErrorKind::Invalid,
            format!("`{}` in volume `{volume}` is a link that leads out of the volume", relative.display()),
        )
        .not_applied()),
        _ => Err(missing_file(volume, relative)),
    }
}

fn missing_file(volume: &str, relative: &Path) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("there is no `{}` in volume `{volume}`", relative.display()))
        .hint(format!("see where the volume is: docker volume inspect {volume}"))
        .not_applied()
}

fn copy_broken(volume: &str, error: &std::io::Error) -> EffectError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::DiskFull,
        _ => ErrorKind::Failed,
    };
    EffectError::new(kind, format!("volume `{volume}` cannot be copied: {error}"))
        .hint("choose another folder for the copy with the environment variable `TMPDIR`")
        .not_applied()
}

/// The path without `.`; empty for all of the volume, none if it leads out.
fn inside(path: &str) -> Option<PathBuf> {
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
        assert_eq!(inside("./db/./app.sqlite"), Some("db/app.sqlite".into()));
        assert_eq!(inside("."), Some(PathBuf::new()));
        for path in ["..", "db/../../x", "/etc/passwd"] {
            assert_eq!(inside(path), None, "{path}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("db"), "").unwrap();
        std::os::unix::fs::symlink("db", root.path().join("same")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("out")).unwrap();
        assert!(in_place("v", root.path(), Path::new("same")).is_ok());
        assert_eq!(in_place("v", root.path(), Path::new("out")).unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(in_place("v", root.path(), Path::new("none")).unwrap_err().kind, ErrorKind::NotFound);
    }
}
