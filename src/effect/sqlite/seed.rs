//! `sqlite_seed`: the first rows of a database.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DatabasePlace, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Recovery, Request};

/// `sqlite_seed`: runs SQL in one transaction, only in a database without a row. One that is missing is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedSqlite {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// The statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A file of this machine with the statements, such as `sqlite3 app.db .dump` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

impl Facts for SeedSqlite {
    fn access(&self) -> Access {
        Access::Write
    }

    /// The second time it is not empty any more.
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for SeedSqlite {
    const KIND: &'static str = "sqlite_seed";
    type Reply = Seeded;
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeded {
    /// False when there were rows already, and nothing was done.
    pub seeded: bool,
    /// Rows of every table afterwards.
    pub tables: BTreeMap<String, u64>,
}
