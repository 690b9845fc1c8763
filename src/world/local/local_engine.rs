//! The engine of the local world: its state folder, and helpers for all categories.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state_folder::{StateFolder, io_error, random_id};
use crate::base::labels;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::process_identity::ProcessIdentity;

/// The name for `--engine`.
pub(super) const NAME: &str = "local";

/// How to start the supervisor.
#[derive(Clone, Debug)]
pub struct Shim {
    /// The program.
    pub program: PathBuf,
    /// The arguments before the container's folder.
    pub args: Vec<OsString>,
}

/// The containers, images, volumes, networks and locks in one state folder.
#[derive(Clone)]
pub struct LocalEngine {
    pub(super) folder: StateFolder,
    pub(super) shim: Shim,
    pub(super) holder: ProcessIdentity,
}

impl LocalEngine {
    /// Removes a folder of the state: renames it first, so that it disappears at once, and then deletes it.
    pub(super) fn remove_folder(&self, folder: &Path) -> Result<(), EffectError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let gone = folder.with_file_name(format!(".gone-{name}-{}", random_id()?));
        fs::rename(folder, &gone).map_err(|why| io_error("remove", folder, &why))?;
        fs::remove_dir_all(&gone).map_err(|why| io_error("remove", &gone, &why))
    }
}

/// Runs blocking file operations on a thread where they do not block others.
pub(super) async fn run_blocking<T: Send + 'static>(
    engine: &Arc<LocalEngine>,
    work: impl FnOnce(&LocalEngine) -> Result<T, EffectError> + Send + 'static,
) -> Result<T, EffectError> {
    let engine = engine.clone();
    tokio::task::spawn_blocking(move || work(&engine))
        .await
        .unwrap_or_else(|why| Err(EffectError::new(ErrorKind::Internal, format!("the local world failed: {why}"))))
}

/// Returns whether all wanted labels are present. An empty wanted value matches any value.
pub(super) fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|there| value.is_empty() || there == value))
}

/// Returns whether the calling run created the object with these labels.
pub(super) fn is_own(call: &Call, all: &BTreeMap<String, String>) -> bool {
    all.get(labels::RUN).is_some_and(|run| run == call.run.as_str())
}
