//! `container_archive`: stores the log of a container, and what the engine knows of it, as objects or as log streams.

use std::sync::Arc;

use super::connector::StorageConnector;
use super::object_name::object_url;
use crate::base::log_url::LogUrl;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::{Container, container_not_found};
use crate::effect::object::{ArchiveContainer, Archived, FACTS, Stored};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use crate::world::services::file_error::file_error;
use crate::world::services::partial_file::PartialFile;

/// Archives containers.
pub(super) struct ContainerArchiver {
    engine: Arc<dyn Engine>,
    storage: StorageConnector,
    clock: Arc<dyn Clock>,
}

/// A log stream that a container is archived to.
struct StreamTarget<'a> {
    group: &'a str,
    name: &'a str,
    /// Whether events that the stream already has are deleted.
    replace: bool,
}

impl ContainerArchiver {
    pub(super) fn new(engine: Arc<dyn Engine>, storage: StorageConnector, clock: Arc<dyn Clock>) -> Self {
        Self { engine, storage, clock }
    }

    pub(super) async fn archive(&self, call: &Call, request: &ArchiveContainer) -> Result<Archived, EffectError> {
        let container = self.engine.find_container(&request.container).await.map_err(EffectError::not_applied)?;
        let container = container.ok_or_else(|| container_not_found(&request.container))?;
        match &request.to {
            LogUrl::Object(to) => self.archive_to_object(call, request, to, &container).await,
            LogUrl::CloudWatch { group, stream } => {
                let name = match stream.as_str() {
                    // The stream belongs to this effect: what an interrupted run has sent is replaced.
                    "" => format!("{}-{}-{}", container.name, call.run, call.seq),
                    name => name.to_owned(),
                };
                let replace = request.overwrite || stream.is_empty();
                let target = StreamTarget { group, name: &name, replace };
                self.archive_to_stream(call, request, &target, &container).await
            }
        }
    }

    async fn archive_to_object(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        to: &ObjectUrl,
        container: &Container,
    ) -> Result<Archived, EffectError> {
        let storage = self.storage.storage(call, to, &request.s3)?;
        let (url, stored_before) = object_url(call, self.clock.unix_ms(), &storage, to, &container.name, "log").await?;
        let overwrite = request.overwrite || stored_before;
        storage.refuse_existing(&url, overwrite).await?;
        let facts_url = url.with_key(format!("{}{FACTS}", url.key()));
        let partial = storage.partial_file(&facts_url)?;
        let text = self.facts(call, request, container, serde_json::to_vec_pretty).await?;
        tokio::fs::write(partial.path(), text)
            .await
            .map_err(|error| file_error("written", partial.target(), &error).not_applied())?;
        // Facts without their log are of no use, so they may be replaced.
        storage.publish(call, partial, &facts_url, true).await?;
        call.report_progress("reading the log");
        let partial = storage.partial_file(&url)?;
        self.engine.save_log(&request.container, partial.path()).await?;
        let Stored { size, sha256, .. } = storage.publish(call, partial, &url, overwrite).await?;
        Ok(Archived { url: url.into(), facts: facts_url.into(), size, sha256 })
    }

    async fn archive_to_stream(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        target: &StreamTarget<'_>,
        container: &Container,
    ) -> Result<Archived, EffectError> {
        let StreamTarget { group, name, replace } = *target;
        let log_group = self.storage.log_group(call, group, &request.s3)?;
        let url = LogUrl::CloudWatch { group: group.to_owned(), stream: name.to_owned() };
        let facts_url = url.with_suffix(FACTS);
        call.report_progress("reading the log");
        let log = PartialFile::for_target(&std::env::temp_dir().join(name.replace('/', "-")))?;
        self.engine.save_log(&request.container, log.path()).await.map_err(EffectError::not_applied)?;
        let digest = log.digest().await?;
        log_group.create_stream(facts_url.name(), replace).await?;
        let text = self.facts(call, request, container, serde_json::to_string).await?;
        log_group.send_text(facts_url.name(), text).await?;
        log_group.create_stream(name, replace).await?;
        log_group.send(call, name, log.path()).await?;
        Ok(Archived { url, facts: facts_url, size: digest.size, sha256: digest.sha256 })
    }

    /// Serializes what the engine knows of the container.
    async fn facts<T>(
        &self,
        call: &Call,
        request: &ArchiveContainer,
        container: &Container,
        serialize: impl FnOnce(&serde_json::Value) -> serde_json::Result<T>,
    ) -> Result<T, EffectError> {
        let stats = if container.is_running() { self.engine.stats(&request.container).await.ok() } else { None };
        let facts = serde_json::json!({
            "container": container, "stats": stats, "run": call.run, "archived_ms": self.clock.unix_ms(),
        });
        serialize(&facts).map_err(|error| EffectError::new(ErrorKind::Internal, error.to_string()).not_applied())
    }
}
