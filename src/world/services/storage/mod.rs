//! Where objects are kept: a folder of this machine, or S3-compatible storage. Both with the same few verbs. And where
//! logs are kept besides: CloudWatch Logs.
//! Knows no database.

mod account;
mod draft;
mod folder;
mod log_batch;
mod log_stream;
mod naming;
mod s3;

use std::fmt::Display;
use std::path::Path;

use super::Services;
use super::wait::within;
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::Removed;
use crate::effect::object::{
    GetObject, ListObjects, OBJECT_LIMIT, Object, ObjectEffect, ObjectOutcome, PruneObjects, Pruned, PutObject,
    S3Access, Stored,
};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use account::{Account, Service};
pub(super) use draft::{Draft, Transferred, file_wrong};
pub(super) use log_stream::LogGroup;
use s3::S3;

/// One place to keep objects in.
pub(super) enum Storage {
    Folder,
    S3(Box<S3>),
}

impl Storage {
    /// The object at exactly this address.
    pub(super) async fn find(&self, url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
        match self {
            Self::Folder => folder::find(url).await,
            Self::S3(s3) => s3.find(url).await,
        }
    }

    /// Those whose address begins like this, by name; at most `limit`.
    pub(super) async fn list(&self, prefix: &ObjectUrl, limit: usize) -> Result<Vec<Object>, EffectError> {
        let mut found = match self {
            Self::Folder => folder::list(prefix, limit).await,
            Self::S3(s3) => s3.list(prefix, limit).await,
        }?;
        found.sort_by(|a, b| a.url.cmp(&b.url));
        Ok(found)
    }

    /// Whether there was one to delete.
    async fn delete(&self, url: &ObjectUrl) -> Result<bool, EffectError> {
        match self {
            Self::Folder => folder::delete(url).await,
            Self::S3(s3) => s3.delete(url).await,
        }
    }

    /// Stores a file under this name. Nothing has the name before all of it is there.
    async fn put(
        &self,
        call: &Call,
        file: &Path,
        url: &ObjectUrl,
        overwrite: bool,
    ) -> Result<Transferred, EffectError> {
        match self {
            Self::Folder => {
                let mut draft = Draft::beside(Path::new(url.key()))?;
                let copied = draft.fill_from(call, file).await?;
                draft.publish(overwrite).await?;
                Ok(copied)
            }
            Self::S3(s3) => s3.put(call, file, url).await,
        }
    }

    /// Fetches an object into a draft.
    pub(super) async fn fetch(
        &self,
        call: &Call,
        url: &ObjectUrl,
        draft: &mut Draft,
    ) -> Result<Transferred, EffectError> {
        match self {
            Self::Folder => draft.fill_from(call, Path::new(url.key())).await,
            Self::S3(s3) => s3.fetch(call, url, draft).await,
        }
    }
}

impl Services {
    /// The storage that an address belongs to.
    pub(super) fn storage(&self, call: &Call, url: &ObjectUrl, access: &S3Access) -> Result<Storage, EffectError> {
        match url {
            ObjectUrl::File { .. } => Ok(Storage::Folder),
            ObjectUrl::S3 { bucket, .. } => {
                let account = Account::find(call, Service::S3, access, &self.env)?;
                S3::open(bucket, account, self.clients.storage()?).map(|s3| Storage::S3(Box::new(s3)))
            }
        }
    }

    /// The log group of this name.
    pub(super) fn log_group(&self, call: &Call, group: &str, access: &S3Access) -> Result<LogGroup, EffectError> {
        let account = Account::find(call, Service::Logs, access, &self.env)?;
        LogGroup::open(group, account, self.clients.storage()?, self.clock.clone()).map_err(EffectError::not_applied)
    }

    pub(super) async fn object(&self, call: &Call, effect: &ObjectEffect) -> Result<ObjectOutcome, EffectError> {
        match effect {
            ObjectEffect::Put(request) => {
                let work = self.put_object(call, request);
                self.timely(call, &request.to, request.timeout, work).await.map(ObjectOutcome::Put)
            }
            ObjectEffect::Get(request) => {
                let work = self.get_object(call, request);
                self.timely(call, &request.url, request.timeout, work).await.map(ObjectOutcome::Get)
            }
            ObjectEffect::List(request) => {
                let work = self.list_objects(call, request);
                self.timely(call, &request.prefix, request.timeout, work).await.map(ObjectOutcome::List)
            }
            ObjectEffect::Delete(request) => {
                let work = async {
                    let removed = self.storage(call, &request.url, &request.s3)?.delete(&request.url).await?;
                    if removed || request.missing_ok { Ok(Removed { removed }) } else { Err(missing(&request.url)) }
                };
                self.timely(call, &request.url, request.timeout, work).await.map(ObjectOutcome::Delete)
            }
            ObjectEffect::Archive(request) => {
                let work = self.archive(call, request);
                self.timely(call, &request.to, request.timeout, work).await.map(ObjectOutcome::Archive)
            }
            ObjectEffect::Prune(request) => {
                let work = self.prune_objects(call, request);
                self.timely(call, &request.prefix, request.timeout, work).await.map(ObjectOutcome::Prune)
            }
        }
    }

    /// Work on `what` that ends in time.
    pub(super) async fn timely<T>(
        &self,
        call: &Call,
        what: &impl Display,
        timeout: DurationText,
        work: impl Future<Output = Result<T, EffectError>>,
    ) -> Result<T, EffectError> {
        let late = || EffectError::new(ErrorKind::Timeout, format!("`{what}` was not done with within {timeout}"));
        within(call, self.clock.as_ref(), timeout.0, late, work).await
    }

    async fn put_object(&self, call: &Call, request: &PutObject) -> Result<Stored, EffectError> {
        let storage = self.storage(call, &request.to, &request.s3)?;
        self.store(call, &storage, Path::new(&request.path), request.target(), request.overwrite).await
    }

    /// Stores a file under a name that is free, or may be replaced.
    pub(super) async fn store(
        &self,
        call: &Call,
        storage: &Storage,
        file: &Path,
        url: ObjectUrl,
        overwrite: bool,
    ) -> Result<Stored, EffectError> {
        self.refuse_taken(storage, &url, overwrite).await?;
        let Transferred { size, sha256 } = storage.put(call, file, &url, overwrite).await?;
        Ok(Stored { url, size, sha256 })
    }

    pub(super) async fn refuse_taken(
        &self,
        storage: &Storage,
        url: &ObjectUrl,
        overwrite: bool,
    ) -> Result<(), EffectError> {
        if !overwrite && storage.find(url).await.map_err(EffectError::not_applied)?.is_some() {
            return Err(taken(url));
        }
        Ok(())
    }

    async fn get_object(&self, call: &Call, request: &GetObject) -> Result<Stored, EffectError> {
        let file = ObjectUrl::File { path: request.path.clone() };
        self.refuse_taken(&Storage::Folder, &file, request.overwrite).await?;
        let storage = self.storage(call, &request.url, &request.s3)?;
        let mut draft = Draft::beside(Path::new(&request.path))?;
        let Transferred { size, sha256 } =
            storage.fetch(call, &request.url, &mut draft).await.map_err(EffectError::not_applied)?;
        draft.publish(request.overwrite).await?;
        Ok(Stored { url: request.url.clone(), size, sha256 })
    }

    async fn list_objects(&self, call: &Call, request: &ListObjects) -> Result<Vec<Object>, EffectError> {
        let storage = self.storage(call, &request.prefix, &request.s3)?;
        storage.list(&request.prefix, request.limit.min(OBJECT_LIMIT)).await
    }

    async fn prune_objects(&self, call: &Call, request: &PruneObjects) -> Result<Pruned, EffectError> {
        let storage = self.storage(call, &request.prefix, &request.s3)?;
        let all = storage.list(&request.prefix, usize::MAX).await.map_err(EffectError::not_applied)?;
        let folder = request.prefix.folder();
        let count = all.iter().filter(|object| object.url.folder() == folder).count();
        let surplus = request.surplus(all, self.clock.unix_ms());
        let mut deleted = Vec::with_capacity(surplus.len());
        for object in surplus {
            call.tell(format!("deleting {}", object.url));
            // Somebody else may be pruning too.
            storage.delete(&object.url).await?;
            deleted.push(object.url);
        }
        Ok(Pruned { kept: count - deleted.len(), deleted })
    }
}

pub(super) fn taken(url: &ObjectUrl) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("`{url}` is there already"))
        .hint("choose another name, or say `overwrite: true`")
        .not_applied()
}

pub(super) fn missing(url: &ObjectUrl) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("there is no object `{url}`")).not_applied()
}
