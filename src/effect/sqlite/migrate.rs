//! `sqlite_migrate_dry_run`: what a migration would do, tried on a copy.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DatabasePlace, SchemaDiff, copy_timeout};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Recovery, Request};

/// `sqlite_migrate_dry_run`: runs a migration on a copy of a database, in a container that is thrown away, or from SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRunMigration {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// The image whose migration it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The app's own migration command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The folder inside the container that holds the database's volume. Default: as `container` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Statements in place of an image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A file of this machine with statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

impl Facts for DryRunMigration {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn interruptible(&self) -> bool {
        true
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for DryRunMigration {
    const KIND: &'static str = "sqlite_migrate_dry_run";
    type Reply = DryRun;
}

/// What the migration did to the copy. A migration that failed is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    pub diff: SchemaDiff,
    /// Tables whose number of rows changed.
    pub rows: BTreeMap<String, RowChange>,
    /// Of the migration alone.
    pub elapsed_ms: u64,
    /// Whether a table of before has fewer rows than before, or a change is destructive.
    pub destructive: bool,
    /// The last lines that the migration wrote.
    #[serde(default)]
    pub output: Vec<String>,
}

/// Rows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    pub before: u64,
    pub after: u64,
}
