//! Objects in a bucket of S3-compatible storage: parts, retries, checksums. Knows no folder.

use std::path::Path;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, BackoffConfig, GetOptions, MultipartUpload, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, RetryConfig,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use super::account::Account;
use super::draft::{Draft, Transferred, file_wrong, hex};
use crate::base::object_url::ObjectUrl;
use crate::effect::object::Object;
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// Bytes of a part; an object that is not larger travels in one piece.
const PART: u64 = 8 << 20;
/// Parts that an object has at the most (the limit of S3 itself is 10,000).
const PARTS: u64 = 9_000;
/// Parts that are on their way at the same time: with [`PART`], the memory of an upload.
const AT_ONCE: usize = 3;
/// Tries of one request, and how long they may take together.
const RETRIES: usize = 5;
const RETRY_TIME: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// To take the parts of an upload away that came to nothing.
const ABORT_TIME: Duration = Duration::from_secs(10);
/// Where a machine of Amazon asks for its role.
pub(super) const MACHINE_ROLE: &str = "169.254.169.254";
/// The object's digest, kept with it.
const DIGEST: &str = "sha256";

/// One bucket.
pub(in super::super) struct S3 {
    store: AmazonS3,
    bucket: String,
}

/// Lends our own HTTP client.
#[derive(Debug)]
struct Lent(reqwest::Client);

impl HttpConnector for Lent {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

impl S3 {
    pub(super) fn open(bucket: &str, account: Account, client: &reqwest::Client) -> Result<Self, EffectError> {
        let whom = format!("bucket `{bucket}`");
        let store = connect(bucket, &whom, account, client)?;
        Ok(Self { store, bucket: bucket.to_owned() })
    }

    fn url(&self, key: &str) -> ObjectUrl {
        ObjectUrl::S3 { bucket: self.bucket.clone(), key: key.to_owned() }
    }

    pub(super) async fn find(&self, url: &ObjectUrl) -> Result<Option<Object>, EffectError> {
        match self.store.head(&key(url)?).await {
            Ok(meta) => Ok(Some(self.object(&meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(wrong(url, &error)),
        }
    }

    fn object(&self, meta: &object_store::ObjectMeta) -> Object {
        let url = self.url(meta.location.as_ref());
        Object { name: url.name().into(), url, size: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }

    pub(super) async fn list(&self, prefix: &ObjectUrl, limit: usize) -> Result<Vec<Object>, EffectError> {
        let folder = prefix.folder();
        let within = if folder.key().is_empty() { None } else { Some(key(&folder)?) };
        let mut objects = self.store.list(within.as_ref());
        let mut found = Vec::new();
        while let Some(meta) = objects.try_next().await.map_err(|error| wrong(prefix, &error))? {
            if meta.location.as_ref().starts_with(prefix.key()) {
                found.push(self.object(&meta));
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether there was one: S3 itself does not tell.
    pub(super) async fn delete(&self, url: &ObjectUrl) -> Result<bool, EffectError> {
        if self.find(url).await?.is_none() {
            return Ok(false);
        }
        match self.store.delete(&key(url)?).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(wrong(url, &error)),
        }
    }

    pub(super) async fn put(&self, call: &Call, path: &Path, url: &ObjectUrl) -> Result<Transferred, EffectError> {
        let location = key(url)?;
        let unreadable = |error: std::io::Error| file_wrong("read", path, &error).not_applied();
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        if !metadata.is_file() {
            let message = format!("`{}` is not a file", path.display());
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        let size = metadata.len();
        // The digest is stored with the object, so it must be known before the first byte is sent.
        let sha256 = digest(&mut file).await.map_err(unreadable)?;
        let mut file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let attributes = Attributes::from_iter([(Attribute::Metadata(DIGEST.into()), sha256.clone())]);
        if size <= PART {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.map_err(unreadable)?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            self.store.put_opts(&location, bytes.into(), options).await.map_err(|error| wrong(url, &error))?;
        } else {
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let upload = self.store.put_multipart_opts(&location, options).await;
            let mut upload = Upload(Some(upload.map_err(|error| wrong(url, &error).not_applied())?));
            if let Err(error) = upload.send(call, &mut file, size, url).await {
                // Now, since the program may end before what a drop leaves to others.
                upload.abort().await;
                return Err(error);
            }
        }
        match self.find(url).await? {
            Some(object) if object.size == size => Ok(Transferred { size, sha256 }),
            found => Err(EffectError::new(
                ErrorKind::Failed,
                format!("`{url}` has {} bytes after {size} were sent", found.map_or(0, |object| object.size)),
            )),
        }
    }

    pub(super) async fn fetch(
        &self,
        call: &Call,
        url: &ObjectUrl,
        draft: &mut Draft,
    ) -> Result<Transferred, EffectError> {
        let got = self.store.get_opts(&key(url)?, GetOptions::default()).await.map_err(|error| wrong(url, &error))?;
        let size = got.meta.size;
        let promised = got.attributes.get(&Attribute::Metadata(DIGEST.into())).map(|value| value.as_ref().to_owned());
        let mut body = got.into_stream();
        let mut sink = draft.sink()?;
        while let Some(piece) = body.try_next().await.map_err(|error| wrong(url, &error))? {
            sink.write(&piece).await?;
            sink.tell(call, size);
        }
        let fetched = sink.finish().await?;
        if fetched.size != size || promised.is_some_and(|promised| promised != fetched.sha256) {
            let message = format!("`{url}` did not arrive as it was stored: size or checksum differ");
            return Err(EffectError::new(ErrorKind::Unavailable, message).not_applied());
        }
        Ok(fetched)
    }
}

/// Storage in the name of an account; `whom` it is asked for, in messages. Also the one place that knows where roles have
/// their credentials.
pub(super) fn connect(
    bucket: &str,
    whom: &str,
    account: Account,
    client: &reqwest::Client,
) -> Result<AmazonS3, EffectError> {
    let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        // One by one: not all storage knows the request that deletes many.
        .with_disable_bulk_delete(true)
        .with_http_connector(Lent(client.clone()))
        .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIME });
    let is_elsewhere = account.endpoint.is_some();
    if let Some(endpoint) = account.endpoint {
        let is_url = reqwest::Url::parse(&endpoint).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_url {
            let message = format!("`{endpoint}` is no endpoint: it is a URL that starts with `http://` or `https://`");
            return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
        }
        builder = builder.with_endpoint(endpoint).with_allow_http(true);
    }
    if let Some(region) = account.region {
        builder = builder.with_region(region);
    }
    match account.keys {
        Some(keys) => {
            builder = builder.with_access_key_id(keys.access).with_secret_access_key(keys.secret);
            if let Some(token) = keys.token {
                builder = builder.with_token(token);
            }
        }
        // Only a machine of Amazon has a role there.
        None if is_elsewhere && account.role.is_empty() => return Err(nobody(whom)),
        None => {
            for (name, value) in account.role {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
        }
    }
    builder
        .build()
        .map_err(|error| EffectError::new(ErrorKind::Invalid, format!("{whom} cannot be used: {error}")).not_applied())
}

/// An upload in parts. One that is not completed takes its parts away.
struct Upload(Option<Box<dyn MultipartUpload>>);

impl Upload {
    async fn send(
        &mut self,
        call: &Call,
        file: &mut tokio::fs::File,
        size: u64,
        url: &ObjectUrl,
    ) -> Result<(), EffectError> {
        let Some(upload) = &mut self.0 else { return Ok(()) };
        let part = usize::try_from(PART.max(size.div_ceil(PARTS))).unwrap_or(usize::MAX);
        let mut under_way = FuturesUnordered::new();
        let mut sent = 0;
        loop {
            let mut bytes = Vec::with_capacity(part);
            let unreadable = |error: std::io::Error| file_wrong("read", Path::new(url.key()), &error);
            (&mut *file).take(part as u64).read_to_end(&mut bytes).await.map_err(unreadable)?;
            if bytes.is_empty() {
                break;
            }
            sent += bytes.len() as u64;
            under_way.push(upload.put_part(bytes.into()));
            if under_way.len() >= AT_ONCE
                && let Some(done) = under_way.next().await
            {
                done.map_err(|error| wrong(url, &error))?;
            }
            #[allow(clippy::cast_precision_loss, reason = "a share for a progress bar")]
            call.tell_fraction(format!("{} of {} MB", sent >> 20, size >> 20), sent as f32 / size as f32);
        }
        while let Some(done) = under_way.next().await {
            done.map_err(|error| wrong(url, &error))?;
        }
        upload.complete().await.map_err(|error| wrong(url, &error))?;
        self.0 = None;
        Ok(())
    }

    /// Takes the parts away.
    async fn abort(&mut self) {
        if let Some(mut upload) = self.0.take()
            && !matches!(tokio::time::timeout(ABORT_TIME, upload.abort()).await, Ok(Ok(())))
        {
            tracing::warn!("the parts of an upload that came to nothing are left in the bucket");
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

async fn digest(file: &mut tokio::fs::File) -> std::io::Result<String> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok(hex(&digest.finalize())),
            count => digest.update(&piece[..count]),
        }
    }
}

fn key(url: &ObjectUrl) -> Result<Key, EffectError> {
    Key::parse(url.key()).map_err(|error| {
        EffectError::new(ErrorKind::Invalid, format!("`{url}` has no key that can be used: {error}")).not_applied()
    })
}

pub(super) fn nobody(whom: &str) -> EffectError {
    EffectError::new(ErrorKind::Refused, format!("there are no credentials for {whom}"))
        .hint("give `s3: #{access_key: secret(\"...\"), secret_key: secret(\"...\")}`, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`")
        .not_applied()
}

/// What an error of the library means for people.
fn wrong(url: &ObjectUrl, error: &object_store::Error) -> EffectError {
    use object_store::Error;
    let text = error.to_string();
    match error {
        Error::NotFound { .. } => {
            EffectError::new(ErrorKind::NotFound, format!("there is no object or bucket `{url}`")).detail(text)
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            EffectError::new(ErrorKind::Refused, format!("storage refuses the credentials for `{url}`"))
                .hint("check the keys, their rights on the bucket, and the machine's clock")
                .detail(text)
        }
        _ if text.contains(MACHINE_ROLE) => match url {
            ObjectUrl::S3 { bucket, .. } => nobody(&format!("bucket `{bucket}`")),
            ObjectUrl::File { .. } => EffectError::new(ErrorKind::Refused, text),
        },
        Error::Generic { source, .. } => {
            let why = super::super::reason::reason(source.as_ref());
            EffectError::new(ErrorKind::Unavailable, format!("storage did not serve `{url}`: {}", short(&why)))
                .hint("see whether the endpoint is right and the server is up and has room")
                .detail(text)
        }
        _ => EffectError::new(ErrorKind::Failed, format!("storage failed for `{url}`: {}", short(&text))),
    }
}

pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    super::super::reason::clip(text, LONGEST)
}
