//! Objects on S3-compatible storage or in a folder: put, get, list, delete, prune; archives of containers.

mod archive;
mod delete;
mod error;
mod list;
mod prune;
mod transfer;

use serde::{Deserialize, Serialize};

pub use archive::{ArchiveContainer, Archived, FACTS};
pub use delete::DeleteObject;
pub use error::{object_exists, object_not_found, storage_unreachable};
pub use list::ListObjects;
pub use prune::{PruneObjects, Pruned};
pub use transfer::{GetObject, PutObject, Stored};

use super::category::category;
use super::{Effect, Outcome, Undo};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::base::text::Text;

/// The most objects that a list returns.
pub const OBJECT_LIMIT: usize = 10_000;

const TRANSFER_TIMEOUT: DurationText = DurationText::secs(900);
const READ_TIMEOUT: DurationText = DurationText::secs(60);

category! {
    /// Actions on object storage.
    Object: ObjectEffect => ObjectOutcome {
        Put(PutObject),
        Get(GetObject),
        List(ListObjects),
        Delete(DeleteObject),
        Prune(PruneObjects),
        Archive(ArchiveContainer),
    }
}

fn transfer_timeout() -> DurationText {
    TRANSFER_TIMEOUT
}

fn read_timeout() -> DurationText {
    READ_TIMEOUT
}

/// How to reach S3-compatible storage, or CloudWatch Logs. What is not given comes from the environment:
/// `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on, the profile in `~/.aws`, the role of the container or machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Access {
    /// The address of a server other than Amazon's, such as `https://minio.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The access key id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Text>,
    /// The secret access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Text>,
    /// The session token of temporary credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Text>,
}

impl S3Access {
    /// Returns whether nothing is given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its address.
    pub url: ObjectUrl,
    /// The part of the address after the last slash.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970, UTC.
    pub modified_ms: i64,
}

/// Returns the read that shows whether this object exists.
fn list_exactly(url: &ObjectUrl, s3: &S3Access) -> Effect {
    ListObjects { prefix: url.clone(), s3: s3.clone(), limit: OBJECT_LIMIT, timeout: READ_TIMEOUT }.into()
}

/// Returns whether the outcome of [`list_exactly`] contains the object.
fn contains(listed: Option<&Outcome>, url: &ObjectUrl) -> bool {
    let Some(Outcome::Object(ObjectOutcome::List(found))) = listed else { return false };
    found.iter().any(|object| object.url == *url)
}

/// Deletes an object that did not exist before.
fn delete_created(url: ObjectUrl, s3: S3Access) -> Undo {
    Undo::by(DeleteObject { url, s3, missing_ok: true, disposable: true, timeout: READ_TIMEOUT })
}
