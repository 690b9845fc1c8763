//! SQLite databases.

use super::{BOOL, DURATION, LIST, NO_TIMEOUT_HARM, STRING};
use crate::effect::sqlite::{CheckSqlite, QuerySqlite};
use crate::script::primitive::Primitive;

fn database(primitive: Primitive) -> Primitive {
    primitive
        .positional(&["path"])
        .required("path", STRING, "the database file; below `volume` when that is given")
        .optional("volume", STRING, "none", "the named volume that holds it")
        .optional("timeout", DURATION, "\"5m\"", NO_TIMEOUT_HARM)
}

pub fn primitives() -> Vec<Primitive> {
    vec![
        database(Primitive::of::<CheckSqlite>(
            "Checks that a database is sound, also while an app writes to it; fails with kind \"database_corrupt\" when it is not.",
        ))
        .optional("full", BOOL, "false", "PRAGMA integrity_check instead of quick_check")
        .optional("foreign_keys", BOOL, "false", "checks foreign keys too")
        .optional("missing_ok", BOOL, "false", "one that does not exist counts as sound and empty")
        .returns("exists, empty (no table has a row), tables (name to rows), journal_mode, size")
        .example("sqlite_check(\"app.db\", #{volume: \"data\", missing_ok: true})"),
        database(Primitive::of::<QuerySqlite>("Returns the rows of a SELECT; anything that writes is refused."))
            .required("sql", STRING, "one statement")
            .optional("params", LIST, "[]", "values for the ? in it")
            .returns("a list of maps, column to value; at most 10,000")
            .example("sqlite_query(\"app.db\", #{volume: \"data\", sql: \"SELECT count(*) AS n FROM notes\"})"),
    ]
}
