//! Reads the schema of a database.

use std::path::Path;

use rusqlite::Connection;

use super::connection::{read_database, sqlite_error};
use super::worker::StopSignal;
use crate::effect::EffectError;
use crate::effect::sqlite::{Column, Index, Schema, Table, Trigger, View};

/// Reads the schema of a database file.
pub(super) fn read_database_schema(subject: &str, path: &Path, stop: &StopSignal) -> Result<Schema, EffectError> {
    read_database(subject, path, stop, |connection| {
        read_schema(connection).map_err(|error| sqlite_error(subject, &error))
    })
}

/// Reads the schema that a connection sees, in one snapshot.
pub(in crate::world) fn read_schema(connection: &Connection) -> rusqlite::Result<Schema> {
    // One transaction, so that commits of other connections do not mix in.
    let is_outermost = connection.is_autocommit();
    if is_outermost {
        connection.execute_batch("BEGIN")?;
    }
    let schema = read_objects(connection);
    if is_outermost {
        connection.execute_batch("COMMIT")?;
    }
    schema
}

fn read_objects(connection: &Connection) -> rusqlite::Result<Schema> {
    let user_version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let mut schema = Schema { user_version, ..Schema::default() };
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, table, sql): (String, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        match kind.as_str() {
            "table" => drop(schema.tables.insert(name.clone(), Table { columns: columns(connection, &name)?, sql })),
            "index" => drop(schema.indexes.insert(name, Index { table, unique: is_unique(&sql), sql })),
            "trigger" => drop(schema.triggers.insert(name, Trigger { table, sql })),
            "view" => drop(schema.views.insert(name, View { sql })),
            _ => {}
        }
    }
    Ok(schema)
}

fn is_unique(sql: &str) -> bool {
    sql.split_whitespace().nth(1).is_some_and(|word| word.eq_ignore_ascii_case("UNIQUE"))
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid";
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            kind: row.get(1)?,
            not_null: row.get(2)?,
            default: row.get(3)?,
            primary_key: row.get(4)?,
            generated: row.get::<_, i64>(5)? > 1,
        })
    });
    // The columns of a virtual table are unknown without the extension that created it.
    match columns.and_then(Iterator::collect) {
        Err(error) if error.to_string().contains("no such module") => Ok(Vec::new()),
        other => other,
    }
}
