//! `object_delete`.

use serde::{Deserialize, Serialize};

use super::{S3Access, contains, list_exactly, read_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::Removed;
use crate::effect::request::request;
use crate::effect::{Outcome, Undo};

/// `object_delete`: deletes one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeleteObject {
    /// The object's address.
    pub url: ObjectUrl,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Succeeds if the object does not exist.
    #[serde(default)]
    pub missing_ok: bool,
    /// States that it is not needed any more: the run can be rolled back without it.
    #[serde(default)]
    pub disposable: bool,
    /// Default 60 s.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    DeleteObject {
        kind: "object_delete",
        reply: Removed,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        subject: url,
        prior: |delete| (!delete.disposable).then(|| list_exactly(&delete.url, &delete.s3)),
        undo: Self::undo_from,
    }
}

impl DeleteObject {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        if self.disposable || !contains(prior, &self.url) {
            return Undo::Nothing;
        }
        Undo::Impossible(format!("object `{}` was deleted; store it again from its source", self.url))
    }
}
