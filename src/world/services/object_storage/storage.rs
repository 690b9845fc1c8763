//! One interface for both kinds of object storage: folders of this machine and S3 buckets.

use std::path::Path;

use super::folder;
use super::s3::S3Bucket;
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::effect::object::{Object, Stored, object_exists};
use crate::world::Call;
use crate::world::services::partial_file::{FileDigest, PartialFile};

/// A folder of this machine, or an S3 bucket.
pub(crate) enum Storage {
    Folder,
    S3(Box<S3Bucket>),
}

impl Storage {
    /// Returns the object at exactly this URL.
    pub(super) async fn find(&self, url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
        match self {
            Self::Folder => folder::find(url).await,
            Self::S3(bucket) => bucket.find(url).await,
        }
    }

    /// Returns the objects whose URL starts with `prefix`, sorted by URL; at most `limit`.
    pub(super) async fn list(&self, prefix: &ObjectUrl, limit: usize) -> Result<Vec<Object>, EffectError> {
        let mut found = match self {
            Self::Folder => folder::list(prefix, limit).await,
            Self::S3(bucket) => bucket.list(prefix, limit).await,
        }?;
        found.sort_by(|a, b| a.url.cmp(&b.url));
        Ok(found)
    }

    /// Deletes an object. Returns whether there was one.
    pub(super) async fn delete(&self, url: &ObjectUrl) -> Result<bool, EffectError> {
        match self {
            Self::Folder => folder::delete(url).await,
            Self::S3(bucket) => bucket.delete(url).await,
        }
    }

    /// Stores a file. The object appears under its name only when it is complete.
    pub(super) async fn put(
        &self,
        call: &Call,
        file: &Path,
        url: ObjectUrl,
        overwrite: bool,
    ) -> Result<Stored, EffectError> {
        self.refuse_existing(&url, overwrite).await?;
        let FileDigest { size, sha256 } = match self {
            Self::Folder => {
                let mut partial = PartialFile::for_target(Path::new(url.key()))?;
                let copied = partial.copy_from(call, file).await?;
                partial.publish(overwrite).await?;
                copied
            }
            Self::S3(bucket) => bucket.put(call, file, &url).await?,
        };
        Ok(Stored { url, size, sha256 })
    }

    /// Downloads an object into a partial file.
    pub(crate) async fn fetch(
        &self,
        call: &Call,
        url: &ObjectUrl,
        into: &mut PartialFile,
    ) -> Result<FileDigest, EffectError> {
        match self {
            Self::Folder => into.copy_from(call, Path::new(url.key())).await,
            Self::S3(bucket) => bucket.fetch(call, url, into).await,
        }
    }

    /// Fails if the object exists and must not be overwritten.
    pub(crate) async fn refuse_existing(&self, url: &ObjectUrl, overwrite: bool) -> Result<(), EffectError> {
        if !overwrite && self.find(url).await.map_err(EffectError::not_applied)?.is_some() {
            return Err(object_exists(url));
        }
        Ok(())
    }

    /// Creates a partial file for an object that will be stored at `url`.
    pub(crate) fn partial_file(&self, url: &ObjectUrl) -> Result<PartialFile, EffectError> {
        match self {
            Self::Folder => PartialFile::for_target(Path::new(url.key())),
            Self::S3(_) => PartialFile::for_target(&std::env::temp_dir().join(url.name())),
        }
    }

    /// Stores a partial file that is complete.
    pub(crate) async fn publish(
        &self,
        call: &Call,
        partial: PartialFile,
        url: &ObjectUrl,
        overwrite: bool,
    ) -> Result<Stored, EffectError> {
        if matches!(self, Self::S3(_)) {
            return self.put(call, partial.path(), url.clone(), overwrite).await;
        }
        let FileDigest { size, sha256 } = partial.digest().await?;
        partial.publish(overwrite).await?;
        Ok(Stored { url: url.clone(), size, sha256 })
    }
}
