//! `object_list` and `object_delete`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{OBJECT_LIMIT, Object, S3Access, ask_timeout, is_there, look};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::container::Removed;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Request, Undo};

/// `object_list`: objects whose address begins like this, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListObjects {
    pub prefix: ObjectUrl,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// Default and most: 10,000.
    #[serde(default = "most")]
    pub limit: usize,
    /// Default 60 s.
    #[serde(default = "ask_timeout")]
    pub timeout: DurationText,
}

fn most() -> usize {
    OBJECT_LIMIT
}

impl Facts for ListObjects {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.prefix.to_string()
    }
}

impl Request for ListObjects {
    const KIND: &'static str = "object_list";
    type Reply = Vec<Object>;
}

/// `object_delete`: deletes one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeleteObject {
    pub url: ObjectUrl,
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    #[serde(default)]
    pub missing_ok: bool,
    /// States that nobody will miss it: the run can be taken back without it.
    #[serde(default)]
    pub disposable: bool,
    /// Default 60 s.
    #[serde(default = "ask_timeout")]
    pub timeout: DurationText,
}

impl Facts for DeleteObject {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn prior(&self) -> Option<Effect> {
        (!self.disposable).then(|| look(&self.url, &self.s3))
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        if self.disposable || !is_there(prior, &self.url) {
            return Undo::Nothing;
        }
        Undo::Impossible(format!("object `{}` was deleted; put it there again from where it came", self.url))
    }

    fn subject(&self) -> String {
        self.url.to_string()
    }
}

impl Request for DeleteObject {
    const KIND: &'static str = "object_delete";
    type Reply = Removed;
}
