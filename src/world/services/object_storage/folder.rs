//! Objects as files on this machine. Knows no S3.

use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::base::object_url::ObjectUrl;
use crate::effect::object::Object;
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::cancellation::run_blocking;
use crate::world::services::file_error::file_error;
use crate::world::services::partial_file::{is_partial, parent_folder, sync_folder};

/// How many folders deep a list goes.
const MAX_DEPTH: usize = 16;

/// Returns the file at this path, if there is one.
pub(super) async fn find(url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
    let url = url.clone();
    run_blocking(move || object(&url)).await
}

fn object(url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
    let path = Path::new(url.key());
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let modified = metadata.modified().ok().and_then(|then| then.duration_since(UNIX_EPOCH).ok());
            Ok(Some(Object {
                url: url.clone(),
                name: url.name().into(),
                size: metadata.len(),
                modified_ms: modified.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            }))
        }
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(file_error("read", path, &error).not_applied()),
    }
}

/// Returns the files whose path starts with `prefix`, at most `limit`.
pub(super) async fn list(prefix: &ObjectUrl, limit: usize) -> Result<Vec<Object>, EffectError> {
    let prefix = prefix.clone();
    run_blocking(move || {
        let mut found = Vec::new();
        walk(&prefix.folder(), prefix.key(), limit, MAX_DEPTH, &mut found)?;
        Ok(found)
    })
    .await
}

fn walk(
    folder: &ObjectUrl,
    prefix: &str,
    limit: usize,
    depth: usize,
    found: &mut Vec<Object>,
) -> Result<(), EffectError> {
    let path = if folder.key().is_empty() { Path::new(".") } else { Path::new(folder.key()) };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(file_error("listed", path, &error).not_applied()),
    };
    let mut names: Vec<(String, bool)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?.is_dir())))
        .collect();
    names.sort_unstable();
    for (name, is_folder) in names {
        if found.len() >= limit {
            return Ok(());
        }
        let url = folder.join(&name);
        let may_match = url.key().starts_with(prefix) || prefix.starts_with(url.key());
        if is_folder && may_match && depth > 0 {
            walk(&url.with_key(format!("{}/", url.key())), prefix, limit, depth - 1, found)?;
        } else if !is_folder && url.key().starts_with(prefix) && !is_partial(&name) {
            found.extend(object(&url)?);
        }
    }
    Ok(())
}

/// Deletes a file. Returns whether there was one.
pub(super) async fn delete(url: &ObjectUrl) -> Result<bool, EffectError> {
    let url = url.clone();
    run_blocking(move || {
        let path = Path::new(url.key());
        if path.is_dir() {
            let message = format!("`{url}` is a folder; only single files can be deleted");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        match std::fs::remove_file(path) {
            Ok(()) => {
                // Best effort: a file that reappears after a power failure does no harm.
                let _ = sync_folder(parent_folder(path));
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(file_error("deleted", path, &error).not_applied()),
        }
    })
    .await
}
