//! Objects in a bucket of S3-compatible storage: multipart uploads, checksums, errors. Knows no folder.

use std::path::Path;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3;
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::base::object_url::ObjectUrl;
use crate::effect::object::{Object, storage_unreachable};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::services::aws::account::AwsAccount;
use crate::world::services::aws::s3_client::{INSTANCE_METADATA, build_s3_client, no_credentials, short};
use crate::world::services::error_text::root_cause;
use crate::world::services::file_error::file_error;
use crate::world::services::partial_file::{FileDigest, PartialFile, hex};

/// Size of a part in bytes. An object that is not larger is sent in one request.
const PART_SIZE: u64 = 8 << 20;
/// Most parts of an object. S3 itself allows 10,000.
const MAX_PARTS: u64 = 9_000;
/// Parts sent at the same time. With [`PART_SIZE`], this bounds the memory of an upload.
const CONCURRENT_PARTS: usize = 3;
/// How long removing the parts of a failed upload may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Metadata of an object that holds its checksum.
const DIGEST_ATTRIBUTE: &str = "sha256";

/// One bucket.
pub(crate) struct S3Bucket {
    client: AmazonS3,
    bucket: String,
}

impl S3Bucket {
    pub(crate) fn open(bucket: &str, account: AwsAccount, client: &reqwest::Client) -> Result<Self, EffectError> {
        let client = build_s3_client(bucket, &format!("bucket `{bucket}`"), account, client)?;
        Ok(Self { client, bucket: bucket.to_owned() })
    }

    fn url(&self, key: &str) -> ObjectUrl {
        ObjectUrl::S3 { bucket: self.bucket.clone(), key: key.to_owned() }
    }

    pub(crate) async fn find(&self, url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
        match self.client.head(&key(url)?).await {
            Ok(meta) => Ok(Some(self.object(&meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage_error(url, &error)),
        }
    }

    fn object(&self, meta: &object_store::ObjectMeta) -> Object {
        let url = self.url(meta.location.as_ref());
        Object { name: url.name().into(), url, size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }

    pub(crate) async fn list(&self, prefix: &ObjectUrl, limit: usize) -> Result<Vec<Object>, EffectError> {
        let folder = prefix.folder();
        let within = if folder.key().is_empty() { None } else { Some(key(&folder)?) };
        let mut objects = self.client.list(within.as_ref());
        let mut found = Vec::new();
        while let Some(meta) = objects.try_next().await.map_err(|error| storage_error(prefix, &error))? {
            if meta.location.as_ref().starts_with(prefix.key()) {
                found.push(self.object(&meta));
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Deletes an object. Returns whether there was one, which S3 itself does not report.
    pub(crate) async fn delete(&self, url: &ObjectUrl) -> Result<bool, EffectError> {
        if self.find(url).await?.is_none() {
            return Ok(false);
        }
        match self.client.delete(&key(url)?).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(storage_error(url, &error)),
        }
    }

    pub(crate) async fn put(&self, call: &Call, path: &Path, url: &ObjectUrl) -> Result<FileDigest, EffectError> {
        let location = key(url)?;
        let unreadable = |error: std::io::Error| file_error("read", path, &error).not_applied();
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            let message = format!("`{}` is not a file", path.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let size = metadata.len();
        // The digest is stored with the object, so it must be known before the first byte is sent.
        let sha256 = digest_file(&mut file).await.map_err(unreadable)?;
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let attributes = Attributes::from_iter([(Attribute::Metadata(DIGEST_ATTRIBUTE.into()), sha256.clone())]);
        if size <= PART_SIZE {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.map_err(unreadable)?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            self.client.put_opts(&location, bytes.into(), options).await.map_err(|error| storage_error(url, &error))?;
        } else {
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let upload = self.client.put_multipart_opts(&location, options).await;
            let mut upload = Upload(Some(upload.map_err(|error| storage_error(url, &error).not_applied())?));
            if let Err(error) = upload.send(call, path, &mut file, size, url).await {
                // Abort here: the process may end before the task that a drop would spawn.
                upload.abort().await;
                return Err(error);
            }
        }
        match self.find(url).await? {
            Some(object) if object.size == size => Ok(FileDigest { size, sha256 }),
            found => Err(EffectError::new(
                ErrorKind::Failed,
                format!("`{url}` has {} bytes after {size} bytes were sent", found.map_or(0, |object| object.size)),
            )),
        }
    }

    pub(crate) async fn fetch(
        &self,
        call: &Call,
        url: &ObjectUrl,
        into: &mut PartialFile,
    ) -> Result<FileDigest, EffectError> {
        let got = self
            .client
            .get_opts(&key(url)?, GetOptions::default())
            .await
            .map_err(|error| storage_error(url, &error))?;
        let size = got.meta.size;
        let stored_digest =
            got.attributes.get(&Attribute::Metadata(DIGEST_ATTRIBUTE.into())).map(|value| value.as_ref().to_owned());
        let mut body = got.into_stream();
        let mut writer = into.writer()?;
        while let Some(chunk) = body.try_next().await.map_err(|error| storage_error(url, &error))? {
            writer.write(&chunk).await?;
            writer.report_progress(call, size);
        }
        let fetched = writer.finish().await?;
        if fetched.size != size || stored_digest.is_some_and(|stored| stored != fetched.sha256) {
            let message = format!("the download of `{url}` is corrupt: size or checksum differ");
            return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
        }
        Ok(fetched)
    }
}

/// A multipart upload. Dropping it before it is complete removes its parts.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    async fn send(
        &mut self,
        call: &Call,
        path: &Path,
        file: &mut tokio::fs::File,
        size: u64,
        url: &ObjectUrl,
    ) -> Result<(), EffectError> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let part = usize::try_from(PART_SIZE.max(size.div_ceil(MAX_PARTS))).unwrap_or(usize::MAX);
        let mut pending = FuturesUnordered::new();
        let mut sent = 0;
        loop {
            let mut bytes = Vec::with_capacity(part);
            let unreadable = |error: std::io::Error| file_error("read", path, &error);
            (&mut *file).take(part as u64).read_to_end(&mut bytes).await.map_err(unreadable)?;
            if bytes.is_empty() {
                break;
            }
            sent += bytes.len() as u64;
            pending.push(upload.put_part(bytes.into()));
            if pending.len() >= CONCURRENT_PARTS
                && let Some(done) = pending.next().await
            {
                done.map_err(|error| storage_error(url, &error))?;
            }
            #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
            call.report_progress_fraction(format!("{} of {} MB", sent >> 20, size >> 20), sent as f32 / size as f32);
        }
        while let Some(done) = pending.next().await {
            done.map_err(|error| storage_error(url, &error))?;
        }
        upload.complete().await.map_err(|error| storage_error(url, &error))?;
        self.0 = None;
        Ok(())
    }

    /// Removes the parts.
    async fn abort(&mut self) {
        if let Some(mut upload) = self.0.take()
            && !matches!(tokio::time::timeout(ABORT_TIMEOUT, upload.abort()).await, Ok(Ok(())))
        {
            tracing::warn!("could not remove the parts of a failed upload from the bucket");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { Self(Some(upload)).abort().await });
        }
    }
}

async fn digest_file(file: &mut tokio::fs::File) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).await? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&chunk[..count]),
        }
    }
}

fn key(url: &ObjectUrl) -> Result<Key, EffectError> {
    Key::parse(url.key()).map_err(|error| {
        EffectError::new(ErrorKind::Invalid, format!("the key of `{url}` is not valid: {error}")).not_applied()
    })
}

/// Turns an error of the library into that of an effect.
fn storage_error(url: &ObjectUrl, error: &object_store::Error) -> EffectError {
    use object_store::Error;
    let text = error.to_string();
    match error {
        Error::NotFound { .. } => {
            EffectError::new(ErrorKind::NotFound, format!("object or bucket `{url}` does not exist")).detail(text)
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            EffectError::new(ErrorKind::Refused, format!("the storage refuses the credentials for `{url}`"))
                .hint("check the keys, their permissions on the bucket, and the machine's clock")
                .detail(text)
        }
        _ if text.contains(INSTANCE_METADATA) => match url {
            ObjectUrl::S3 { bucket, .. } => no_credentials(&format!("bucket `{bucket}`")),
            ObjectUrl::File { .. } => EffectError::new(ErrorKind::Refused, text),
        },
        Error::Generic { source, .. } => {
            let why = root_cause(source.as_ref());
            storage_unreachable(url, &short(&why)).detail(text)
        }
        _ => EffectError::new(ErrorKind::Failed, format!("the request for `{url}` failed: {}", short(&text))),
    }
}
