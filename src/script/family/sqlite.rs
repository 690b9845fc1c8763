//! SQLite databases.

use super::{BOOL, CONTAINER, DURATION, LIST, MAP, NO_TIMEOUT_HARM, S3, S3_DOC, STRING, URL};
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
        .required("path", STRING, "the database file; below `volume`, or as `container` sees it, when one is given")
        .optional("volume", STRING, "none", "the named volume that holds it")
        .optional("container", CONTAINER, "none", "a container that has it on one of its volumes")
        .optional("timeout", DURATION, timeout, NO_TIMEOUT_HARM)
}

const READ: &str = "\"5m\"";
const COPY: &str = "\"15m\"";

pub fn primitives() -> Vec<Primitive> {
    [reading(), changing()].concat()
}

fn reading() -> Vec<Primitive> {
    vec![
        database(Primitive::of::<CheckSqlite>(
            "Checks that a database is sound, also while an app writes to it; fails with kind \"database_corrupt\" when it is not.",
        ), READ)
        .optional("full", BOOL, "false", "PRAGMA integrity_check instead of quick_check")
        .optional("foreign_keys", BOOL, "false", "checks foreign keys too")
        .optional("missing_ok", BOOL, "false", "one that does not exist counts as sound and empty")
        .optional("digest", BOOL, "false", "reads every row into a digest: alike for databases that hold the same")
        .returns("exists, empty (no table has a row), tables (name to rows), journal_mode, size, digest (when asked for)")
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_check(\"app.db\", #{volume: \"data\", missing_ok: true})"),
        database(Primitive::of::<QuerySqlite>("Returns the rows of a SELECT; anything that writes is refused."), READ)
            .required("sql", STRING, "one statement")
            .optional("params", LIST, "[]", "values for the ? in it")
            .returns("a list of maps, column to value; at most 10,000")
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
            .example("sqlite_query(\"app.db\", #{volume: \"data\", sql: \"SELECT count(*) AS n FROM notes\"})"),
        database(Primitive::of::<ReadSchema>("Reads what a database is made of, also while an app writes to it."), READ)
            .returns(
                "tables (name to columns and sql), indexes, triggers, views, user_version; a column has name, type, not_null, default, primary_key, generated",
            )
            .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
            .example("sqlite_schema(\"app.db\", #{volume: \"data\"})"),
        Primitive::of::<DiffSchema>(
            "Compares two schemas, and says of every change whether it may lose values (`destructive`) or make a version fail that knows the former schema (`breaking`), and why. A renamed column is one removed and one added.",
        )
        .positional(&["before", "after"])
        .required("before", MAP, "what `sqlite_schema` returned, or a map with `path` and `volume` or `container`, or a path")
        .required("after", MAP, "the same for the schema that it becomes")
        .optional("timeout", DURATION, READ, NO_TIMEOUT_HARM)
        .returns("changes (a list of change, name, column, destructive, breaking, why), destructive, breaking")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_schema_diff(#{path: \"app.db\", volume: \"data\"}, #{path: \"app.db\", volume: \"data-green\"})"),
        database(Primitive::of::<FindUsers>(
            "Finds who has a database: containers whose mounts hold it, and processes that have it open. Processes are seen only on this machine, and all of them only by root.",
        ), READ)
        .returns("in_use, containers (a list of name, id, running, read_only), processes (a list of pid, command, container), id")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, Unsupported])
        .example("sqlite_writers(\"app.db\", #{volume: \"data\"})"),
    ]
}

fn changing() -> Vec<Primitive> {
    vec![
        database(Primitive::of::<BackUpSqlite>(
            "Copies a database as it is at one instant, also while an app writes to it, checks the copy and counts its rows, and only then gives it its name.",
        ), COPY)
        .required("to", URL, "a file, `file:///FOLDER/NAME` or `s3://BUCKET/KEY`; with a slash at the end a folder, where the name is made of database, time and run")
        .optional("to_volume", STRING, "none", "the named volume that `to` is a path in")
        .optional("s3", S3, "#{}", S3_DOC)
        .optional("overwrite", BOOL, "false", "replaces what is at `to`")
        .optional("full", BOOL, "false", "PRAGMA integrity_check of the copy instead of quick_check")
        .returns("url, size, sha256, tables (name to rows)")
        .undo("none: a backup outlives the run that made it; `object_prune` removes old ones")
        .errors(&[NotFound, NameTaken, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_backup(\"app.db\", #{volume: \"data\", to: \"file:///var/backups/\"})"),
        database(Primitive::of::<RestoreSqlite>(
            "Puts a copy in the place of a database that nobody uses, after it was checked. What was there stays beside it as `NAME.replaced-ID`.",
        ), COPY)
        .optional("from", URL, "none", "the copy: a file, `file:///FOLDER/NAME` or `s3://BUCKET/KEY`")
        .optional("put_back", STRING, "none", "in place of `from`: the ID of `NAME.replaced-ID`, which comes back; \"\" when there was no database before")
        .optional("s3", S3, "#{}", S3_DOC)
        .returns("kept (where the database is that was there before, or ()), tables (name to rows), size")
        .undo("puts back what was there; what is there by then stays beside it as `NAME.undone-ID`")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_restore(\"app.db\", #{volume: \"data\", from: \"s3://backups/app.db\"})"),
        database(Primitive::of::<SeedSqlite>(
            "Runs SQL in one transaction, only in a database that has no row. One that is missing is made. BEGIN and COMMIT of a dump are passed over.",
        ), READ)
        .optional("sql", STRING, "none", "the statements")
        .optional("file", STRING, "none", "a file of this machine with the statements, in place of `sql`")
        .returns("seeded (false when there were rows already), tables (name to rows)")
        .undo("none: the rows stay, since an app may have written more; a database with rows is never seeded again")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, DiskFull, Unsupported])
        .example("sqlite_seed(\"app.db\", #{volume: \"data\", sql: \"CREATE TABLE IF NOT EXISTS notes(text)\"})"),
        database(Primitive::of::<DryRunMigration>(
            "Tries a migration on a copy of a database: the app's own command in a container of its image that is thrown away, or SQL. Fails when the migration fails or leaves the copy damaged.",
        ), COPY)
        .optional("image", STRING, "none", "the image whose migration it is")
        .optional("command", LIST, "none", "the app's migration command")
        .optional("target", STRING, "as `container` has it", "the folder in the image that the database's volume is mounted on")
        .optional("environment", MAP, "#{}", "variables of the command; may be secrets")
        .optional("user", STRING, "the image's", "user, or user:group")
        .optional("sql", STRING, "none", "statements, in place of an image's command")
        .optional("file", STRING, "none", "a file of this machine with statements, in place of `sql`")
        .returns("diff (see sqlite_schema_diff), rows (table to before and after, where they differ), destructive, elapsed_ms, output (lines)")
        .undo("nothing to take back: copy, container and volume are removed at its end")
        .errors(&[NotFound, Conflict, Refused, Failed, DatabaseCorrupt, MissingSecret, DiskFull, Unsupported])
        .example("sqlite_migrate_dry_run(\"app.db\", #{volume: \"data\", sql: \"CREATE TABLE IF NOT EXISTS tags(name)\"})"),
    ]
}
