//! `container_archive`: the log of a container, and what the engine knows of it, onto storage.

use std::path::Path;

use super::Services;
use super::storage::{Draft, Storage, file_wrong};
use crate::base::object_url::ObjectUrl;
use crate::effect::object::{ArchiveContainer, Archived, Stored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl Services {
    pub(super) async fn archive(&self, call: &Call, request: &ArchiveContainer) -> Result<Archived, EffectError> {
        let container = self.engine.look(&request.container).await.map_err(EffectError::not_applied)?;
        let container = container.ok_or_else(|| {
            let message = format!("container `{}` does not exist", request.container);
            EffectError::new(ErrorKind::NotFound, message).not_applied()
        })?;
        let storage = self.storage(call, &request.to, &request.s3)?;
        let (url, is_own) = self.name_in(call, &storage, &request.to, &container.name, "log").await?;
        let overwrite = request.overwrite || is_own;
        self.refuse_taken(&storage, &url, overwrite).await?;
        let stats = if container.is_running() { self.engine.stats(&request.container).await.ok() } else { None };
        let facts = serde_json::json!({
            "container": container, "stats": stats, "run": call.run, "archived_ms": self.clock.unix_ms(),
        });
        let facts_url = ArchiveContainer::facts_url(&url);
        let draft = self.draft(&storage, &facts_url)?;
        let text = serde_json::to_vec_pretty(&facts)
            .map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()).not_applied())?;
        tokio::fs::write(draft.path(), text)
            .await
            .map_err(|error| file_wrong("written", draft.target(), &error).not_applied())?;
        // What belongs to a log that is not there yet is worth nothing: it may be replaced.
        self.give_name(call, &storage, draft, &facts_url, true).await?;
        call.tell("reading the log");
        let draft = self.draft(&storage, &url)?;
        self.engine.save_log(&request.container, draft.path()).await?;
        let Stored { size, sha256, .. } = self.give_name(call, &storage, draft, &url, overwrite).await?;
        Ok(Archived { url, facts: facts_url, size, sha256 })
    }

    /// A draft of what will be stored there.
    pub(super) fn draft(&self, storage: &Storage, url: &ObjectUrl) -> Result<Draft, EffectError> {
        match storage {
            Storage::Folder => Draft::beside(Path::new(url.key())),
            Storage::S3(_) => Draft::beside(&std::env::temp_dir().join(url.name())),
        }
    }

    /// Stores a draft that is whole.
    pub(super) async fn give_name(
        &self,
        call: &Call,
        storage: &Storage,
        draft: Draft,
        url: &ObjectUrl,
        overwrite: bool,
    ) -> Result<Stored, EffectError> {
        if matches!(storage, Storage::S3(_)) {
            return self.store(call, storage, draft.path(), url.clone(), overwrite).await;
        }
        let measured = draft.measured().await?;
        draft.publish(overwrite).await?;
        Ok(Stored { url: url.clone(), size: measured.size, sha256: measured.sha256 })
    }
}
