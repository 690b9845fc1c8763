//! Files of the host and objects in buckets, by address. Of their content only databases are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::database::SimDatabase;
use crate::base::log_url::LogUrl;
use crate::base::object_url::ObjectUrl;

/// Stored files, objects and log streams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimStorage {
    /// Files and objects by address. A host file that is not listed is assumed to exist, and to be small, when it is
    /// read.
    pub stored: BTreeMap<ObjectUrl, SimObject>,
    /// CloudWatch log streams, with the size of their logs in bytes.
    pub streams: BTreeMap<LogUrl, u64>,
    /// Whether buckets and log groups do not answer.
    pub down: bool,
}

/// One file or object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimObject {
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change, in milliseconds since 1970, UTC.
    pub modified_ms: i64,
    /// The content, if it is a backup of a database.
    pub database: Option<SimDatabase>,
}
