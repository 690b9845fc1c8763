//! Names of objects that a run stores in a folder. An effect finds the name that it used before a crash, so that it stores
//! the same object again and not a second one.

use std::path::Path;

use jiff::Timestamp;

use super::storage::Storage;
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::world::Call;

/// Returns the URL under which to store an object, and whether this effect has stored it already.
///
/// If `to` is a folder, the name is `STEM-TIME-RUN-POSITION.EXTENSION`.
pub(crate) async fn object_url(
    call: &Call,
    unix_ms: i64,
    storage: &Storage,
    to: &ObjectUrl,
    stem: &str,
    extension: &str,
) -> Result<(ObjectUrl, bool), EffectError> {
    let is_folder = match to {
        ObjectUrl::File { path } => to.is_folder() || Path::new(path).is_dir(),
        ObjectUrl::S3 { .. } => to.is_folder(),
    };
    if !is_folder {
        return Ok((to.clone(), false));
    }
    let prefix = to.join(&format!("{stem}-"));
    let suffix = format!("-{}-{}.{extension}", call.run, call.seq);
    let stored = storage.list(&prefix, usize::MAX).await.map_err(EffectError::not_applied)?;
    if let Some(object) = stored.into_iter().find(|object| object.name.ends_with(&suffix)) {
        return Ok((object.url, true));
    }
    let now = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    Ok((prefix.with_key(format!("{}{time}{suffix}", prefix.key())), false))
}
