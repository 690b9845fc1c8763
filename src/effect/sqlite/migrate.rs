//! `sqlite_migrate_dry_run`: a migration on a copy of a database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatabaseLocation, SchemaDiff, copy_timeout};
use crate::base::duration_text::DurationText;
use crate::base::run_id::RunId;
use crate::base::seq::Seq;
use crate::base::text::Text;
use crate::effect::request::request;

/// `sqlite_migrate_dry_run`: runs a migration on a copy of a database: SQL, or the command of an image in a temporary
/// container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRunMigration {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// The image that contains the migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The migration command of the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The folder inside the container where the database's volume is mounted. Default: as in `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Environment variables of the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Text>,
    /// The user that runs the command. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// SQL statements, instead of an image's command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A file on this machine with SQL statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Default 15 min.
    #[serde(default = "copy_timeout")]
    pub timeout: DurationText,
}

request! {
    DryRunMigration {
        kind: "sqlite_migrate_dry_run",
        reply: DryRun,
        access: Write,
        recovery: Repeat,
        deadline: timeout,
        interruptible: true,
        subject: location,
    }
}

impl DryRunMigration {
    /// Returns the name of the temporary container of this effect, and of its volume.
    pub fn sandbox_name(run: &RunId, seq: &Seq) -> String {
        format!("deployer-dry-run-{run}-{seq}").replace('.', "_")
    }
}

/// What the migration did to the copy. A migration that fails is an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// What changed in the schema.
    pub diff: SchemaDiff,
    /// Tables whose number of rows changed.
    pub rows: BTreeMap<String, RowChange>,
    /// How long the migration alone took, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether a table has fewer rows than before, or a schema change is destructive.
    pub destructive: bool,
    /// The last lines that the migration wrote.
    #[serde(default)]
    pub output: Vec<String>,
}

/// The number of rows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// Before the migration.
    pub before: u64,
    /// After the migration.
    pub after: u64,
}
