//! Local volumes: folders with a name.

pub(crate) mod copy;
pub(crate) mod partial_copy;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::record::ContainerRecord;
use super::file_tree::inside;
use super::local_engine::{LocalEngine, has_labels, is_own};
use super::state_folder::{check_name, instant_text, io_error, read_json, with_suggestion, write_json};
use crate::base::labels;
use crate::effect::container::Removed;
use crate::effect::volume::{
    CreateVolume, ListVolumes, RemoveVolume, Volume, volume_file_not_found, volume_in_use, volume_not_found,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::folder_copy::content_id;

/// `volumes/NAME/meta.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created_at: String,
}

impl LocalEngine {
    pub(crate) fn volume_folder(&self, name: &str) -> PathBuf {
        self.folder.volumes().join(name)
    }

    /// Returns the folder with the files of a volume.
    pub(crate) fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_folder(name).join("data")
    }

    pub(crate) fn create_volume(&self, call: &Call, request: &CreateVolume) -> Result<Volume, EffectError> {
        let mut all = request.labels.clone();
        all.extend(call.labels().map(|(key, value)| (key.to_owned(), value)));
        all.extend(request.service.iter().map(|service| (labels::SERVICE.to_owned(), service.clone())));
        let _guard = self.folder.guard()?;
        self.ensure_volume(&request.name, all)?;
        self.require_volume(&request.name)
    }

    /// Creates the volume if it does not exist. The caller holds the guard.
    pub(crate) fn ensure_volume(&self, name: &str, labels: BTreeMap<String, String>) -> Result<(), EffectError> {
        check_name("volume", name)?;
        let meta = self.volume_folder(name).join("meta.json");
        if meta.exists() {
            return Ok(());
        }
        let data = self.volume_data(name);
        fs::create_dir_all(&data).map_err(|why| io_error("create", &data, &why))?;
        write_json(&meta, &VolumeRecord { labels, created_at: instant_text() })
    }

    pub(crate) fn find_volume(&self, name: &str) -> Result<Option<Volume>, EffectError> {
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

    pub(crate) fn require_volume(&self, name: &str) -> Result<Volume, EffectError> {
        check_name("volume", name)?;
        match self.find_volume(name)? {
            Some(volume) => Ok(volume),
            None => {
                let known = self.folder.names(&self.folder.volumes())?;
                Err(with_suggestion(volume_not_found(name), name, known.iter().map(String::as_str)))
            }
        }
    }

    pub(crate) fn list_volumes(&self, request: &ListVolumes) -> Result<Vec<Volume>, EffectError> {
        let mut volumes = Vec::new();
        for name in self.folder.names(&self.folder.volumes())? {
            if request.name.as_ref().is_none_or(|wanted| *wanted == name) {
                volumes.extend(self.find_volume(&name)?);
            }
        }
        volumes.retain(|volume| has_labels(&volume.labels, &request.labels));
        Ok(volumes)
    }

    pub(crate) fn remove_volume(&self, call: &Call, request: &RemoveVolume) -> Result<Removed, EffectError> {
        check_name("volume", &request.name)?;
        if self.discard_partial_copy(&request.name, request.only_own.then_some(&call.run))? {
            return Ok(Removed { removed: true });
        }
        let _guard = self.folder.guard()?;
        let volume = match self.require_volume(&request.name) {
            Err(error) if error.kind == ErrorKind::NotFound && request.missing_ok => {
                return Ok(Removed { removed: false });
            }
            other => other?,
        };
        if request.only_own && !is_own(call, &volume.labels) {
            return Ok(Removed { removed: false });
        }
        let user = self.volume_user(&request.name)?;
        if let Some(user) = user {
            return Err(volume_in_use(&request.name, &[user.spec.name]));
        }
        self.remove_folder(&self.volume_folder(&request.name))?;
        Ok(Removed { removed: true })
    }

    /// Returns a container that mounts the volume, whether or not it is running.
    pub(crate) fn volume_user(&self, volume: &str) -> Result<Option<ContainerRecord>, EffectError> {
        let mounts = |container: &ContainerRecord| {
            container.spec.volumes.iter().any(|mount| mount.is_volume() && mount.source == volume)
        };
        Ok(self.container_records()?.into_iter().find(mounts))
    }

    /// Returns the path of an existing file or folder in a volume.
    pub(crate) fn path_in_volume(&self, volume: &str, path: &str) -> Result<PathBuf, EffectError> {
        let mountpoint = self.require_volume(volume)?.mountpoint;
        let file = inside(Path::new(&mountpoint), path)?;
        if file.exists() {
            return Ok(file);
        }
        Err(volume_file_not_found(volume, &path).hint(format!("list its files: ls -l {mountpoint}")))
    }
}
