//! Objects on S3-compatible storage or in a folder: put, get, list, delete, prune; archives of
//! containers.

mod archive;
mod keep;
mod prune;
mod transfer;

use serde::{Deserialize, Serialize};

pub use archive::{ArchiveContainer, Archived, FACTS};
pub use keep::{DeleteObject, ListObjects};
pub use prune::{PruneObjects, Pruned};
pub use transfer::{GetObject, PutObject, Stored};

use super::family::family;
use super::{Effect, Outcome, Undo};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::base::text::Text;

/// Objects that a list has at the most.
pub const OBJECT_LIMIT: usize = 10_000;

/// How long a transfer may take that does not say otherwise.
const TRANSFER_TIMEOUT: DurationText = DurationText::secs(900);
const ASK_TIMEOUT: DurationText = DurationText::secs(60);

family! {
    /// What can be asked of storage.
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

fn ask_timeout() -> DurationText {
    ASK_TIMEOUT
}

/// How to reach S3-compatible storage, or CloudWatch Logs. What is left out comes from the environment: `AWS_ACCESS_KEY_ID`,
/// `AWS_ENDPOINT_URL` ..., the profile in `~/.aws`, the role of the container or the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Access {
    /// Of a server that is not Amazon's, such as `https://minio.example.org`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Text>,
}

impl S3Access {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub url: ObjectUrl,
    /// The part of the URL behind the last slash.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Milliseconds since 1970, UTC.
    pub modified_ms: i64,
}

/// The question whether something is there, and what takes it away again.
fn look(url: &ObjectUrl, s3: &S3Access) -> Effect {
    ListObjects { prefix: url.clone(), s3: s3.clone(), limit: OBJECT_LIMIT, timeout: ASK_TIMEOUT }.into()
}

/// Whether the answer to [`look`] has an object of this address.
fn is_there(answer: Option<&Outcome>, url: &ObjectUrl) -> bool {
    let Some(Outcome::Object(ObjectOutcome::List(found))) = answer else { return false };
    found.iter().any(|object| object.url == *url)
}

fn delete_again(url: ObjectUrl, s3: S3Access) -> Undo {
    Undo::by(DeleteObject { url, s3, missing_ok: true, disposable: true, timeout: ASK_TIMEOUT })
}
