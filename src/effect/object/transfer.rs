//! `object_put` and `object_get`.

use serde::{Deserialize, Serialize};

use super::{S3Access, contains, delete_created, list_exactly, transfer_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::request::request;
use crate::effect::{Observation, Outcome, PendingEffect, Recovery, Undo};

/// `object_put`: stores a file as a new object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutObject {
    /// A file on this machine.
    pub path: String,
    /// The object's address. With a slash at the end, a folder in which the object is named like the file.
    pub to: ObjectUrl,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces an existing object, which is lost. Default: an existing object is an error.
    #[serde(default)]
    pub overwrite: bool,
    /// Default 15 min.
    #[serde(default = "transfer_timeout")]
    pub timeout: DurationText,
}

impl PutObject {
    /// Returns the object's address, with its name.
    pub fn target(&self) -> ObjectUrl {
        if !self.to.is_folder() {
            return self.to.clone();
        }
        self.to.join(self.path.rsplit('/').next().unwrap_or_default())
    }
}

request! {
    PutObject {
        kind: "object_put",
        reply: Stored,
        access: Write,
        recovery: |request| if request.overwrite { Recovery::Repeat } else { Recovery::Observe },
        deadline: timeout,
        interruptible: true,
        subject: |request| format!("{} -> {}", request.path, request.to),
        prior: |request| Some(list_exactly(&request.target(), &request.s3)),
        undo: Self::undo_from,
        evidence: |request| Some(list_exactly(&request.target(), &request.s3)),
        observe: |request, pending, evidence| observe_object(pending, evidence, &request.target()),
    }
}

impl PutObject {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let url = self.target();
        if contains(prior, &url) { Undo::Nothing } else { delete_created(url, self.s3.clone()) }
    }
}

/// The object that was transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its address.
    pub url: ObjectUrl,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// `object_get`: downloads an object to a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetObject {
    /// The object's address.
    pub url: ObjectUrl,
    /// A file on this machine; its folder must exist.
    pub path: String,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces an existing file, which is lost. Default: an existing file is an error.
    #[serde(default)]
    pub overwrite: bool,
    /// Default 15 min.
    #[serde(default = "transfer_timeout")]
    pub timeout: DurationText,
}

impl GetObject {
    fn file(&self) -> ObjectUrl {
        ObjectUrl::File { path: self.path.clone() }
    }
}

request! {
    GetObject {
        kind: "object_get",
        reply: Stored,
        access: Write,
        recovery: |request| if request.overwrite { Recovery::Repeat } else { Recovery::Observe },
        deadline: timeout,
        interruptible: true,
        subject: |request| format!("{} -> {}", request.url, request.path),
        prior: |request| Some(list_exactly(&request.file(), &S3Access::default())),
        undo: Self::undo_from,
        evidence: |request| Some(list_exactly(&request.file(), &S3Access::default())),
        observe: |request, pending, evidence| observe_object(pending, evidence, &request.file()),
    }
}

impl GetObject {
    fn undo_from(&self, prior: Option<&Outcome>) -> Undo {
        let file = self.file();
        if contains(prior, &file) { Undo::Nothing } else { delete_created(file, S3Access::default()) }
    }
}

/// An object that exists now and did not before is deleted and transferred again: that also yields its digest.
fn observe_object(pending: PendingEffect<'_>, evidence: &Outcome, url: &ObjectUrl) -> Observation {
    if pending.undo.is_some() && contains(Some(evidence), url) { Observation::Partial } else { Observation::NotDone }
}
