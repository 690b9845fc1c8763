//! `sqlite_check` and `sqlite_query`. Both only read, also while the app writes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DatabasePlace, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Request};

/// Rows that a query returns at the most.
pub const ROW_LIMIT: usize = 10_000;

/// `sqlite_check`: whether a database is sound. Fails with `database_corrupt` when it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSqlite {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// `integrity_check` (reads every index against its table) instead of `quick_check`.
    #[serde(default)]
    pub full: bool,
    /// Checks foreign keys too.
    #[serde(default)]
    pub foreign_keys: bool,
    /// A database that does not exist yet counts as sound and empty.
    #[serde(default)]
    pub missing_ok: bool,
    /// Reads every row into `digest`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digest: bool,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

impl Facts for CheckSqlite {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for CheckSqlite {
    const KIND: &'static str = "sqlite_check";
    type Reply = Checked;
}

/// What a sound database holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub exists: bool,
    /// No table has a row.
    pub empty: bool,
    /// Rows of every table.
    pub tables: BTreeMap<String, u64>,
    /// `wal`, `delete` ...
    #[serde(default)]
    pub journal_mode: Option<String>,
    /// Bytes of the main file.
    pub size: u64,
    /// Over schema and rows: alike for databases that hold the same, however their files were written. None without
    /// being asked for, and where there is no database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `sqlite_query`: the rows of a SELECT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuerySqlite {
    #[serde(flatten)]
    pub place: DatabasePlace,
    pub sql: String,
    /// Values for the `?` in the SQL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

impl Facts for QuerySqlite {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for QuerySqlite {
    const KIND: &'static str = "sqlite_query";
    /// One map a row, from column to value. At most 10,000 rows; more is an error.
    type Reply = Vec<serde_json::Map<String, Value>>;
}
