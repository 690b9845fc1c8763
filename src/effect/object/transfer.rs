//! `object_put` and `object_get`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{S3Access, delete_again, is_there, look, transfer_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::facts::{GRACE, Trace, Verdict};
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Undo};

/// What is there now and was not before is deleted and made again: its digest is known then.
fn partly_if(trace: Trace<'_>, is_there: bool) -> Verdict {
    if is_there && trace.undo.is_some() { Verdict::Partly } else { Verdict::Not }
}

/// `object_put`: stores a file under a name that is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutObject {
    /// A file of this machine.
    pub path: String,
    /// With a slash at the end: a folder; the object is named like the file.
    pub to: ObjectUrl,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces what is there, which is gone then. Default: that fails.
    #[serde(default)]
    pub overwrite: bool,
    /// Default 15 min.
    #[serde(default = "transfer_timeout")]
    pub timeout: DurationText,
}

impl PutObject {
    /// Where it goes, with the name in it.
    pub fn target(&self) -> ObjectUrl {
        if !self.to.is_folder() {
            return self.to.clone();
        }
        self.to.join(self.path.rsplit('/').next().unwrap_or_default())
    }
}

impl Facts for PutObject {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        if self.overwrite { Recovery::Repeat } else { Recovery::Observe }
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn prior(&self) -> Option<Effect> {
        Some(look(&self.target(), &self.s3))
    }

    fn evidence(&self) -> Option<Effect> {
        self.prior()
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        partly_if(trace, is_there(Some(evidence), &self.target()))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        let url = self.target();
        if is_there(prior, &url) { Undo::Nothing } else { delete_again(url, self.s3.clone()) }
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.path, self.to)
    }
}

impl Request for PutObject {
    const KIND: &'static str = "object_put";
    type Reply = Stored;
}

/// What was transferred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub url: ObjectUrl,
    /// Bytes.
    pub size: u64,
    pub sha256: String,
}

/// `object_get`: fetches an object into a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetObject {
    pub url: ObjectUrl,
    /// A file of this machine; its folder must be there.
    pub path: String,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Replaces the file, which is gone then. Default: that fails.
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

impl Facts for GetObject {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        if self.overwrite { Recovery::Repeat } else { Recovery::Observe }
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn prior(&self) -> Option<Effect> {
        Some(look(&self.file(), &S3Access::default()))
    }

    fn evidence(&self) -> Option<Effect> {
        self.prior()
    }

    fn verdict(&self, trace: Trace<'_>, evidence: &Outcome) -> Verdict {
        partly_if(trace, is_there(Some(evidence), &self.file()))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        let file = self.file();
        if is_there(prior, &file) { Undo::Nothing } else { delete_again(file, S3Access::default()) }
    }

    fn subject(&self) -> String {
        format!("{} -> {}", self.url, self.path)
    }
}

impl Request for GetObject {
    const KIND: &'static str = "object_get";
    type Reply = Stored;
}
