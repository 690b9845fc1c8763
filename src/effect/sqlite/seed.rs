//! `sqlite_seed`: initial rows of a database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatabaseLocation, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::request::request;

/// `sqlite_seed`: runs SQL in one transaction, only if the database has no rows. A missing database is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedSqlite {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// The SQL statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A file on this machine with the statements, such as `sqlite3 app.db .dump` writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    SeedSqlite {
        kind: "sqlite_seed",
        reply: Seeded,
        access: Write,
        // The second time the database has rows, so nothing is done.
        recovery: Repeat,
        deadline: timeout,
        subject: location,
    }
}

/// The result of seeding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeded {
    /// False if the database had rows already, so that nothing was done.
    pub seeded: bool,
    /// The number of rows of every table afterwards.
    pub tables: BTreeMap<String, u64>,
}
