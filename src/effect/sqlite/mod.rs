//! SQLite databases: check, query, back up, restore, seed, compare; who uses one; what a migration would do to one.

mod copy;
mod look;
mod migrate;
mod place;
mod schema;
mod schema_diff;
mod seed;
mod users;

pub use copy::{BackUpSqlite, BackedUp, RestoreSqlite, Restored};
pub use look::{CheckSqlite, Checked, QuerySqlite, ROW_LIMIT};
pub use migrate::{DryRun, DryRunMigration, RowChange};
pub use place::DatabasePlace;
pub use schema::{Column, Index, ReadSchema, Schema, Table, Trigger, View};
pub use schema_diff::{ChangeKind, DiffSchema, SchemaChange, SchemaDiff, SchemaSource};
pub use seed::{SeedSqlite, Seeded};
pub use users::{DatabaseUsers, FileUser, FindUsers, MountUser};

use super::family::family;
use crate::base::duration_text::DurationText;

/// How long a database may take to be read.
const READ_TIMEOUT: DurationText = DurationText::secs(300);
/// How long one may take to be copied, also over a network.
const COPY_TIMEOUT: DurationText = DurationText::secs(900);

family! {
    /// What can be asked of a SQLite database.
    Sqlite: SqliteEffect => SqliteOutcome {
        Check(CheckSqlite),
        Query(QuerySqlite),
        Schema(ReadSchema),
        SchemaDiff(DiffSchema),
        Users(FindUsers),
        BackUp(BackUpSqlite),
        Restore(RestoreSqlite),
        Seed(SeedSqlite),
        DryRun(DryRunMigration),
    }
}

fn read_timeout() -> DurationText {
    READ_TIMEOUT
}

fn copy_timeout() -> DurationText {
    COPY_TIMEOUT
}
