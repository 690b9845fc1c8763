//! Whether a SQLite database is sound, and what it holds. Knows no deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row};

use super::digest::digest;
use super::file::{reading, wrong};
use super::thread::{Stop, both};
use crate::effect::sqlite::{CheckSqlite, Checked};
use crate::effect::{EffectError, ErrorKind};

/// Faults that an error lists.
const FAULT_LIMIT: usize = 20;

/// Reads all of it as the request says; rows are counted meanwhile.
///
/// # Errors
/// `database_corrupt` with the first faults as detail.
pub(super) fn check(subject: &str, path: &Path, request: &CheckSqlite, stop: &Stop) -> Result<Checked, EffectError> {
    let failed = |error: rusqlite::Error| wrong(subject, &error);
    let look = || {
        reading(subject, path, stop, |connection| {
            sound(subject, connection, request.full)?;
            if request.foreign_keys {
                no_orphans(subject, connection)?;
            }
            let journal_mode: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
            let digest = request.digest.then(|| digest(connection, names(connection)?.iter()));
            Ok((journal_mode, digest.transpose().map_err(failed)?))
        })
    };
    let count = || reading(subject, path, stop, |connection| tables(connection).map_err(failed));
    let ((journal_mode, digest), tables) = both(look, count)?;
    Ok(Checked {
        exists: true,
        empty: tables.values().all(|rows| *rows == 0),
        tables,
        journal_mode: Some(journal_mode),
        size: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        digest,
    })
}

/// Passes when SQLite finds no fault in its pages; `full` reads every index against its table too.
pub(super) fn sound(subject: &str, connection: &Connection, full: bool) -> Result<(), EffectError> {
    let pragma = if full { "integrity_check" } else { "quick_check" };
    let faults = listed(connection, &format!("PRAGMA {pragma}({FAULT_LIMIT})"), |row| row.get(0));
    let mut faults = faults.map_err(|error| wrong(subject, &error))?;
    faults.retain(|fault: &String| fault != "ok");
    if faults.is_empty() { Ok(()) } else { Err(corrupt(subject, &format!("`{pragma}` finds faults"), &faults)) }
}

/// Passes when every foreign key points to a row.
pub(super) fn no_orphans(subject: &str, connection: &Connection) -> Result<(), EffectError> {
    let orphans = listed(connection, "PRAGMA foreign_key_check", orphan);
    let orphans = orphans.map_err(|error| wrong(subject, &error))?;
    if orphans.is_empty() { Ok(()) } else { Err(corrupt(subject, "rows point to rows that do not exist", &orphans)) }
}

fn corrupt(subject: &str, what: &str, faults: &[String]) -> EffectError {
    let count = if faults.len() < FAULT_LIMIT { faults.len().to_string() } else { format!("{FAULT_LIMIT} or more") };
    EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{subject}` is damaged: {what} ({count})"))
        .hint("restore it from a backup, or save what can be read: sqlite3 FILE .recover")
        .detail(faults.join("\n"))
}

/// The first rows of a question.
fn listed<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.take(FAULT_LIMIT).collect()
}

fn orphan(row: &Row<'_>) -> rusqlite::Result<String> {
    let (table, rowid, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let rowid = rowid.map(|rowid| format!(" {rowid}")).unwrap_or_default();
    Ok(format!("row{rowid} of `{table}` points to no row of `{parent}`"))
}

/// Rows of every table that has a name here.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let count = |name: String| {
        let quoted = name.replace('"', "\"\"");
        let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| row.get(0))?;
        Ok((name, u64::try_from(rows).unwrap_or(0)))
    };
    names(connection)?.into_iter().map(count).collect()
}

/// Names of the tables, in order, the database's own and virtual ones left out: reading a virtual table needs the
/// extension that made it.
fn names(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND sql NOT LIKE 'CREATE VIRTUAL TABLE%'";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}
