//! `object_list`.

use serde::{Deserialize, Serialize};

use super::{OBJECT_LIMIT, Object, S3Access, read_timeout};
use crate::base::duration_text::DurationText;
use crate::base::object_url::ObjectUrl;
use crate::effect::request::request;

/// `object_list`: lists the objects whose address begins with a prefix, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListObjects {
    /// The beginning of their addresses.
    pub prefix: ObjectUrl,
    /// How to reach the storage.
    #[serde(default, skip_serializing_if = "S3Access::is_default")]
    pub s3: S3Access,
    /// The number of objects to return. Default and maximum: 10,000.
    #[serde(default = "default_limit")]
    pub limit: usize,
    /// Default 60 s.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

fn default_limit() -> usize {
    OBJECT_LIMIT
}

request! {
    ListObjects {
        kind: "object_list",
        reply: Vec<Object>,
        access: Read,
        deadline: timeout,
        subject: prefix,
    }
}
