//! `sqlite_check` and `sqlite_query`. Both only read, and may run while the app writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DatabaseLocation, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::request::request;

/// The most rows that a query returns.
pub const ROW_LIMIT: usize = 10_000;

/// `sqlite_check`: checks a database for damage. Fails with `database_corrupt` if it is damaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSqlite {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// `integrity_check` (reads every index against its table) instead of `quick_check`.
    #[serde(default)]
    pub full: bool,
    /// Checks foreign keys too.
    #[serde(default)]
    pub foreign_keys: bool,
    /// Treats a database that does not exist as undamaged and empty.
    #[serde(default)]
    pub missing_ok: bool,
    /// Computes `digest` over every row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    CheckSqlite {
        kind: "sqlite_check",
        reply: Checked,
        access: Read,
        deadline: timeout,
        subject: location,
    }
}

/// The content of an undamaged database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Whether the file exists.
    pub exists: bool,
    /// Whether no table has a row.
    pub empty: bool,
    /// The number of rows of every table.
    pub tables: BTreeMap<String, u64>,
    /// `wal`, `delete` and so on.
    #[serde(default)]
    pub journal_mode: Option<String>,
    /// The size of the main file in bytes.
    pub size: u64,
    /// A digest of schema and rows. Databases with the same content have the same digest, however their files were
    /// written. Missing unless requested, and if there is no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `sqlite_query`: returns the rows of a SELECT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuerySqlite {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// The SELECT statement.
    pub sql: String,
    /// Values for the `?` in the statement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    QuerySqlite {
        kind: "sqlite_query",
        // One map per row, from column to value. More than 10,000 rows are an error.
        reply: Vec<serde_json::Map<String, Value>>,
        access: Read,
        deadline: timeout,
        subject: location,
    }
}
