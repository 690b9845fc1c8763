//! SQLite databases: check, query, back up, restore, seed, compare; the users of one; dry runs of migrations.

mod check;
mod copy;
mod error;
mod location;
mod migrate;
mod schema;
mod schema_diff;
mod seed;
mod users;

pub use check::{CheckSqlite, Checked, QuerySqlite, ROW_LIMIT};
pub use copy::{BackUpSqlite, BackedUp, RestoreSqlite, Restored};
pub use error::{SqlSource, database_damaged, database_not_found, sql_failed, sql_invalid};
pub use location::DatabaseLocation;
pub use migrate::{DryRun, DryRunMigration, RowChange};
pub use schema::{Column, Index, ReadSchema, Schema, Table, Trigger, View};
pub use schema_diff::{ChangeKind, DiffSchema, SchemaChange, SchemaDiff, SchemaSource};
pub use seed::{SeedSqlite, Seeded};
pub use users::{DatabaseUsers, FileUser, FindUsers, MountUser, OpenDatabase};

use super::category::category;
use crate::base::duration_text::DurationText;

/// How long reading a database may take by default.
const READ_TIMEOUT: DurationText = DurationText::secs(300);
/// How long copying one may take by default, over a network too.
const COPY_TIMEOUT: DurationText = DurationText::secs(900);

category! {
    /// Actions on SQLite databases.
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
