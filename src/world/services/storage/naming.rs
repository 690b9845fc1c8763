//! The names of what a run puts into a folder: found again by the run's own effect, so that after a crash it makes the
//! same object once more and not a second one.

use std::path::Path;

use jiff::Timestamp;

use super::super::Services;
use super::Storage;
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::world::Call;

impl Services {
    /// The address for `to`, and whether this very effect made what is there. In a folder:
    /// `WORD-TIME-RUN-PLACE.SUFFIX`.
    pub(in super::super) async fn name_in(
        &self,
        call: &Call,
        storage: &Storage,
        to: &ObjectUrl,
        word: &str,
        suffix: &str,
    ) -> Result<(ObjectUrl, bool), EffectError> {
        let is_folder = match to {
            ObjectUrl::File { path } => to.is_folder() || Path::new(path).is_dir(),
            ObjectUrl::S3 { .. } => to.is_folder(),
        };
        if !is_folder {
            return Ok((to.clone(), false));
        }
        let begin = to.join(&format!("{word}-"));
        let end = format!("-{}-{}.{suffix}", call.run, call.seq);
        let found = storage.list(&begin, usize::MAX).await.map_err(EffectError::not_applied)?;
        if let Some(own) = found.into_iter().find(|object| object.name.ends_with(&end)) {
            return Ok((own.url, true));
        }
        let now = Timestamp::from_millisecond(self.clock.unix_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        Ok((begin.with_key(format!("{}{stamp}{end}", begin.key())), false))
    }
}
