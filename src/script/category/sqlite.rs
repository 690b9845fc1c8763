//! SQLite databases.

use super::{BOOL, CONTAINER, DURATION, LIST, MAP, S3, S3_DOC, STRING, TIMEOUT, URL};
use crate::effect::ErrorKind::{
    Conflict, DatabaseCorrupt, DiskFull, Failed, MissingSecret, NameTaken, NotFound, Refused, Unsupported,
};
use crate::effect::sqlite::{
    BackUpSqlite, CheckSqlite, DiffSchema, DryRunMigration, FindUsers, QuerySqlite, ReadSchema, RestoreSqlite,
    SeedSqlite,
};
use crate::script::primitive::Primitive;

fn database(primitive: Primitive, timeout: &'static str) -> Primitive {
    primitive
        .positional(&["path"])
        .required("path", STRING, "database file; relative to `volume`, or a path inside `container`, if one is given")
        .optional("volume", STRING, "none", "named volume that holds the file")
        .optional("container", CONTAINER, "none", "container that has the file on one of its volumes")
        .optional("timeout", DURATION, timeout, TIMEOUT)
}

const READ: &str = "\"5m\"";
const COPY: &str = "\"15m\"";

pub fn primitives() -> Vec<Primitive> {
    [reading(), changing()].concat()
}

fn reading() -> Vec<Primitive> {
    vec![
        database(Primitive::of::<CheckSqlite>(
            "Checks the integrity of a database, even while an app writes to it. Fails with kind \"database_corrupt\" if it is damaged.",
        ), READ)
        .optional("full", BOOL, "false", "use PRAGMA integrity_check instead of quick_check")
        .optional("foreign_keys", BOOL, "false", "check foreign keys too")
        .optional("missing_ok", BOOL, "false", "treat a missing database as sound and empty")
        .optional("digest", BOOL, "false", "compute a digest of every row; equal for databases with equal content")
        .returns("exists, empty (no table has a row), tables (rows by name), journal_mode, size, digest (if requested)")
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_check(\"app.db\", #{volume: \"data\", missing_ok: true})"),
        database(Primitive::of::<QuerySqlite>("Returns the rows of a SELECT. Statements that write are refused."), READ)
            .required("sql", STRING, "one statement")
            .optional("params", LIST, "[]", "values for the `?` placeholders")
            .returns("a list of maps (values by column), at most 10,000")
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
            .example("sqlite_query(\"app.db\", #{volume: \"data\", sql: \"SELECT count(*) AS n FROM notes\"})"),
        database(Primitive::of::<ReadSchema>("Reads the schema of a database, even while an app writes to it."), READ)
            .returns(
                "tables (columns and sql by name), indexes, triggers, views, user_version; a column has name, type, not_null, default, primary_key, generated",
            )
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
            .example("sqlite_schema(\"app.db\", #{volume: \"data\"})"),
        Primitive::of::<DiffSchema>(
            "Compares two schemas. Reports for each change whether it can lose values (`destructive`) or break a version that expects the old schema (`breaking`), and why. A renamed column counts as one removed and one added.",
        )
        .positional(&["before", "after"])
        .required("before", MAP, "a result of `sqlite_schema`, a map with `path` and `volume` or `container`, or a path")
        .required("after", MAP, "the new schema, in the same form")
        .optional("timeout", DURATION, READ, TIMEOUT)
        .returns("changes (a list of change, name, column, destructive, breaking, why), destructive, breaking")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_schema_diff(#{path: \"app.db\", volume: \"data\"}, #{path: \"app.db\", volume: \"data-green\"})"),
        database(Primitive::of::<FindUsers>(
            "Finds the users of a database: containers that mount it and processes that have it open. Processes are found only on this machine, and only root sees all of them.",
        ), READ)
        .returns("in_use, containers (a list of name, id, running, read_only), processes (a list of pid, command, container), other_databases (a list of container, path: what else these containers have open), id")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_writers(\"app.db\", #{volume: \"data\"})"),
    ]
}

fn changing() -> Vec<Primitive> {
    vec![
        database(Primitive::of::<BackUpSqlite>(
            "Copies a consistent snapshot of a database, even while an app writes to it. The copy is checked and its rows are counted before it gets its name.",
        ), COPY)
        .required("to", URL, "file, `file:///FOLDER/NAME` or `s3://BUCKET/KEY`; if it ends with a slash, it is a folder, and a name of database, time and run is appended")
        .optional("name", STRING, "that of the database", "in a folder, the beginning of the copy's name")
        .optional("to_volume", STRING, "none", "named volume that `to` is relative to")
        .optional("s3", S3, "#{}", S3_DOC)
        .optional("overwrite", BOOL, "false", "replace an existing file or object")
        .optional("full", BOOL, "false", "check the copy with PRAGMA integrity_check instead of quick_check")
        .returns("url, size, sha256, tables (rows by name)")
        .undo("none: the backup is kept; `object_prune` removes old ones")
        .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_backup(\"app.db\", #{volume: \"data\", to: \"file:///var/backups/\"})"),
        database(Primitive::of::<RestoreSqlite>(
            "Replaces an unused database with a checked copy. The replaced database is kept next to it as `NAME.replaced-ID`.",
        ), COPY)
        .optional("from", URL, "none", "the copy: file, `file:///FOLDER/NAME` or `s3://BUCKET/KEY`")
        .optional("put_back", STRING, "none", "instead of `from`: the ID of the `NAME.replaced-ID` to restore; \"\" if there was no database before")
        .optional("s3", S3, "#{}", S3_DOC)
        .returns("kept (path of the replaced database, or ()), tables (rows by name), size")
        .undo("restores the replaced database; the current one is kept next to it as `NAME.undone-ID`")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_restore(\"app.db\", #{volume: \"data\", from: \"s3://backups/app.db\"})"),
        database(Primitive::of::<SeedSqlite>(
            "Runs SQL in one transaction if the database has no rows. Creates a missing database. Skips BEGIN and COMMIT of a dump.",
        ), READ)
        .optional("sql", STRING, "none", "SQL statements")
        .optional("file", STRING, "none", "local file with the statements, instead of `sql`")
        .returns("seeded (false if there were rows), tables (rows by name)")
        .undo("none: the rows stay, since the app may have added more; a database with rows is not seeded again")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, DiskFull, Unsupported])
        .example("sqlite_seed(\"app.db\", #{volume: \"data\", sql: \"CREATE TABLE IF NOT EXISTS notes(text)\"})"),
        database(Primitive::of::<DryRunMigration>(
            "Runs a migration on a copy of a database: the app's own command in a temporary container of its image, or SQL. Fails if the migration fails or damages the copy.",
        ), COPY)
        .optional("image", STRING, "none", "image that contains the migration")
        .optional("command", LIST, "none", "migration command of the app")
        .optional("target", STRING, "as in `container`", "mount point of the database's volume inside the image")
        .optional("environment", MAP, "#{}", "environment variables of the command; can be secrets")
        .optional("user", STRING, "the image's", "user, or user:group")
        .optional("sql", STRING, "none", "SQL statements, instead of a command of an image")
        .optional("file", STRING, "none", "local file with SQL statements, instead of `sql`")
        .returns("diff (as of `sqlite_schema_diff`), rows (before and after by table, where they differ), destructive, elapsed_ms, output (lines)")
        .undo("none needed: copy, container and volume are removed at the end")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_migrate_dry_run(\"app.db\", #{volume: \"data\", sql: \"CREATE TABLE IF NOT EXISTS tags(name)\"})"),
    ]
}
