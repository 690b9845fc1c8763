//! Local volumes: folders with a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LocalEngine;
use super::folder::{check_name, instant_text, io_error, not_found, read_json, write_json};
use super::record::ContainerRecord;
use super::tree::inside;
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::{CreateVolume, ListVolumes, RemoveVolume, Volume};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::replica::content_id;

/// `volumes/NAME/meta.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    pub labels: BTreeMap<String, String>,
    pub created_at: String,
}

impl LocalEngine {
    pub(super) fn volume_folder(&self, name: &str) -> PathBuf {
        self.folder.volumes().join(name)
    }

    /// Where the files of a volume are.
    pub(super) fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_folder(name).join("data")
    }

    pub(super) fn create_volume(&self, call: &Call, request: &CreateVolume) -> Result<Volume, EffectError> {
        let mut all = request.labels.clone();
        all.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        all.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let _guard = self.folder.guard()?;
        self.ensure_volume(&request.name, all)?;
        self.volume(&request.name)
    }

    /// Makes the volume unless it is there. The caller holds the guard.
    pub(super) fn ensure_volume(&self, name: &str, labels: BTreeMap<String, String>) -> Result<(), EffectError> {
        check_name("volume", name)?;
        let meta = self.volume_folder(name).join("meta.json");
        if meta.exists() {
            return Ok(());
        }
        let data = self.volume_data(name);
        fs::create_dir_all(&data).map_err(|why| io_error("create", &data, &why))?;
        write_json(&meta, &VolumeRecord { labels, created_at: instant_text() })
    }

    pub(super) fn volume_find(&self, name: &str) -> Result<Option<Volume>, EffectError> {
        let record: Option<VolumeRecord> = read_json(&self.volume_folder(name).join("meta.json"))?;
        Ok(record.map(|record| Volume {
            name: name.to_owned(),
            driver: "local".into(),
            mountpoint: self.volume_data(name).display().to_string(),
            labels: record.labels,
            created_at: Some(record.created_at),
            content_id: content_id(&self.volume_data(name)),
        }))
    }

    pub(super) fn volume(&self, name: &str) -> Result<Volume, EffectError> {
        check_name("volume", name)?;
        match self.volume_find(name)? {
            Some(volume) => Ok(volume),
            None => {
                let known = self.folder.names(&self.folder.volumes())?;
                Err(not_found("volume", name, known.iter().map(String::as_str), "see which there are: `volume_list()`"))
            }
        }
    }

    pub(super) fn list_volumes(&self, request: &ListVolumes) -> Result<Vec<Volume>, EffectError> {
        let mut volumes = Vec::new();
        for name in self.folder.names(&self.folder.volumes())? {
            if request.name.as_ref().is_none_or(|wanted| *wanted == name) {
                volumes.extend(self.volume_find(&name)?);
            }
        }
        volumes.retain(|volume| super::has_labels(&volume.labels, &request.labels));
        Ok(volumes)
    }

    pub(super) fn remove_volume(&self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        check_name("volume", &request.name)?;
        if self.clear_half(&request.name, request.only_own.then_some(&call.run))? {
            return Ok(Removed { removed: true });
        }
        let _guard = self.folder.guard()?;
        let volume = match self.volume(&request.name) {
            Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => {
                return Ok(Removed { removed: false });
            }
            other => other?,
        };
        if request.only_own && !super::is_own(call, &volume.labels) {
            return Ok(Removed { removed: false });
        }
        let user = self.user_of_volume(&request.name)?;
        if let Some(user) = user {
            return Err(EffectError::new(
                ErrorKind::Conflict,
                format!("volume `{}` is used by container `{}`", request.name, user.spec.name),
            )
            .hint("remove the container first: `docker_remove`")
            .not_applied());
        }
        self.discard(&self.volume_folder(&request.name))?;
        Ok(Removed { removed: true })
    }

    /// A container that mounts the volume, whether or not it runs.
    pub(super) fn user_of_volume(&self, volume: &str) -> Result<Option<ContainerRecord>, EffectError> {
        let mounts = |container: &ContainerRecord| {
            container.spec.volumes.iter().any(|mount| mount.is_volume() && mount.source == volume)
        };
        Ok(self.records()?.into_iter().find(mounts))
    }

    /// A file or folder of a volume, which is there.
    pub(super) fn file_of_volume(&self, volume: &str, path: &str) -> Result<PathBuf, EffectError> {
        let mountpoint = self.volume(volume)?.mountpoint;
        let file = inside(Path::new(&mountpoint), path)?;
        if file.exists() {
            return Ok(file);
        }
        Err(EffectError::new(ErrorKind::NotFound, format!("volume `{volume}` has no file `{path}`"))
            .hint(format!("see what is there: ls -l {mountpoint}"))
            .not_applied())
    }
}
