//! `container_archive`: the log of a container, and what the engine knows of it, onto storage or into log streams.

use std::path::Path;

use super::Services;
use super::storage::{Draft, Storage, file_wrong};
use crate::base::log_url::LogUrl;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::Container;
use crate::effect::object::{ArchiveContainer, Archived, FACTS, Stored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

impl Services {
    pub(super) async fn archive(&self, call: &Call, request: &ArchiveContainer) -> Result<Archived, EffectError> {
        let container = self.engine.look(&request.container).await.map_err(EffectError::not_applied)?;
        let container = container.ok_or_else(|| {
            let message = format!("container `{}` does not exist", request.container);
            EffectError::new(ErrorKind::NotFound, message).not_applied()
        })?;
        match &request.to {
            LogUrl::Object(to) => self.archive_object(call, request, to, &container).await,
            LogUrl::CloudWatch { group, stream } => {
                let name = match stream.as_str() {
                    // The run's own: what a killed one has sent already is sent anew.
                    "" => format!("{}-{}-{}", container.name, call.run, call.seq),
                    name => name.to_owned(),
                };
                let anew = request.overwrite || stream.is_empty();
                self.archive_stream(call, request, group, &name, anew, &container).await
            }
        }
    }

    async fn archive_object(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        to: &ObjectUrl,
        container: &Container,
    ) -> Result<Archived, EffectError> {
        let storage = self.storage(call, to, &request.s3)?;
        let (url, is_own) = self.name_in(call, &storage, to, &container.name, "log").await?;
        let overwrite = request.overwrite || is_own;
        self.refuse_taken(&storage, &url, overwrite).await?;
        let facts_url = url.with_key(format!("{}{FACTS}", url.key()));
        let draft = self.draft(&storage, &facts_url)?;
        let text = self.facts(call, request, container, serde_json::to_vec_pretty).await?;
        tokio::fs::write(draft.path(), text)
            .await
            .map_err(|error| file_wrong("written", draft.target(), &error).not_applied())?;
        // What belongs to a log that is not there yet is worth nothing: it may be replaced.
        self.give_name(call, &storage, draft, &facts_url, true).await?;
        call.tell("reading the log");
        let draft = self.draft(&storage, &url)?;
        self.engine.save_log(&request.container, draft.path()).await?;
        let Stored { size, sha256, .. } = self.give_name(call, &storage, draft, &url, overwrite).await?;
        Ok(Archived { url: url.into(), facts: facts_url.into(), size, sha256 })
    }

    async fn archive_stream(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        group: &str,
        name: &str,
        anew: bool,
        container: &Container,
    ) -> Result<Archived, EffectError> {
        let to = self.log_group(call, group, &request.s3)?;
        let url = LogUrl::CloudWatch { group: group.to_owned(), stream: name.to_owned() };
        let facts_url = url.with_suffix(FACTS);
        call.tell("reading the log");
        let draft = Draft::beside(&std::env::temp_dir().join(name.replace('/', "-")))?;
        self.engine.save_log(&request.container, draft.path()).await.map_err(EffectError::not_applied)?;
        let measured = draft.measured().await?;
        to.make_stream(facts_url.name(), anew).await?;
        let text = self.facts(call, request, container, serde_json::to_string).await?;
        to.send_text(facts_url.name(), text).await?;
        to.make_stream(name, anew).await?;
        to.send(call, name, draft.path()).await?;
        Ok(Archived { url, facts: facts_url, size: measured.size, sha256: measured.sha256 })
    }

    /// What the engine knows of the container.
    async fn facts<T>(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        container: &Container,
        write: impl FnOnce(&serde_json::Value) -> serde_json::Result<T>,
    ) -> Result<T, EffectError> {
        let stats = if container.is_running() { self.engine.stats(&request.container).await.ok() } else { None };
        let facts = serde_json::json!({
            "container": container, "stats": stats, "run": call.run, "archived_ms": self.clock.unix_ms(),
        });
        write(&facts).map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()).not_applied())
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
