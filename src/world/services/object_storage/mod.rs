//! Object storage (folders of this machine, S3 buckets) and the archives of containers.

pub(crate) mod connector;
mod container_archive;
mod folder;
pub(crate) mod object_name;
mod s3;
pub(crate) mod storage;

use std::path::Path;
use std::sync::Arc;

use super::cancellation::time_limited;
use super::partial_file::{FileDigest, PartialFile};
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::effect::container::Removed;
use crate::effect::object::{
    GetObject, ListObjects, OBJECT_LIMIT, Object, ObjectEffect, ObjectOutcome, PruneObjects, Pruned, PutObject, Stored,
    object_not_found,
};
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::engine::Engine;
use connector::StorageConnector;
use container_archive::ContainerArchiver;
use storage::Storage;

/// Performs the effects on objects, and `container_archive`.
pub(crate) struct ObjectService {
    storage: StorageConnector,
    archiver: ContainerArchiver,
    clock: Arc<dyn Clock>,
}

impl ObjectService {
    pub(crate) fn new(engine: Arc<dyn Engine>, storage: StorageConnector, clock: Arc<dyn Clock>) -> Self {
        let archiver = ContainerArchiver::new(engine, storage.clone(), Arc::clone(&clock));
        Self { storage, archiver, clock }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &ObjectEffect) -> Result<ObjectOutcome, EffectError> {
        let clock = self.clock.as_ref();
        match effect {
            ObjectEffect::Put(request) => {
                let work = self.put(call, request);
                time_limited(call, clock, &request.to, request.timeout, work).await.map(ObjectOutcome::Put)
            }
            ObjectEffect::Get(request) => {
                let work = self.get(call, request);
                time_limited(call, clock, &request.url, request.timeout, work).await.map(ObjectOutcome::Get)
            }
            ObjectEffect::List(request) => {
                let work = self.list(call, request);
                time_limited(call, clock, &request.prefix, request.timeout, work).await.map(ObjectOutcome::List)
            }
            ObjectEffect::Delete(request) => {
                let work = async {
                    let storage = self.storage.storage(call, &request.url, &request.s3)?;
                    let removed = storage.delete(&request.url).await?;
                    if removed || request.missing_ok {
                        Ok(Removed { removed })
                    } else {
                        Err(object_not_found(&request.url))
                    }
                };
                time_limited(call, clock, &request.url, request.timeout, work).await.map(ObjectOutcome::Delete)
            }
            ObjectEffect::Archive(request) => {
                let work = self.archiver.archive(call, request);
                time_limited(call, clock, &request.to, request.timeout, work).await.map(ObjectOutcome::Archive)
            }
            ObjectEffect::Prune(request) => {
                let work = self.prune(call, request);
                time_limited(call, clock, &request.prefix, request.timeout, work).await.map(ObjectOutcome::Prune)
            }
        }
    }

    async fn put(&self, call: &Call, request: &PutObject) -> Result<Stored, EffectError> {
        let storage = self.storage.storage(call, &request.to, &request.s3)?;
        storage.put(call, Path::new(&request.path), request.target(), request.overwrite).await
    }

    async fn get(&self, call: &Call, request: &GetObject) -> Result<Stored, EffectError> {
        let file = ObjectUrl::File { path: request.path.clone() };
        Storage::Folder.refuse_existing(&file, request.overwrite).await?;
        let storage = self.storage.storage(call, &request.url, &request.s3)?;
        let mut partial = PartialFile::for_target(Path::new(&request.path))?;
        let FileDigest { size, sha256 } =
            storage.fetch(call, &request.url, &mut partial).await.map_err(EffectError::not_applied)?;
        partial.publish(request.overwrite).await?;
        Ok(Stored { url: request.url.clone(), size, sha256 })
    }

    async fn list(&self, call: &Call, request: &ListObjects) -> Result<Vec<Object>, EffectError> {
        let storage = self.storage.storage(call, &request.prefix, &request.s3)?;
        storage.list(&request.prefix, request.limit.min(OBJECT_LIMIT)).await
    }

    async fn prune(&self, call: &Call, request: &PruneObjects) -> Result<Pruned, EffectError> {
        let storage = self.storage.storage(call, &request.prefix, &request.s3)?;
        let all = storage.list(&request.prefix, usize::MAX).await.map_err(EffectError::not_applied)?;
        let folder = request.prefix.folder();
        let count = all.iter().filter(|object| object.url.folder() == folder).count();
        let surplus = request.surplus(all, self.clock.unix_ms());
        let mut deleted = Vec::with_capacity(surplus.len());
        for object in surplus {
            call.report_progress(format!("deleting {}", object.url));
            // It is no error if another client has deleted the object meanwhile.
            storage.delete(&object.url).await?;
            deleted.push(object.url);
        }
        Ok(Pruned { kept: count - deleted.len(), deleted })
    }
}
