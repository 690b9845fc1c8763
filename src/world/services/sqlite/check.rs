//! Checks a database for damage and counts its rows. Knows no deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Row};

use super::connection::{read_database, sqlite_error};
use super::digest::digest;
use super::worker::{StopSignal, join};
use crate::effect::sqlite::{CheckSqlite, Checked};
use crate::effect::{EffectError, ErrorKind};

/// Most faults that an error lists.
const FAULT_LIMIT: usize = 20;

/// Checks the database and counts its rows at the same time.
///
/// # Errors
/// `database_corrupt`, with the first faults as detail.
pub(super) fn check(
    subject: &str,
    path: &Path,
    request: &CheckSqlite,
    stop: &StopSignal,
) -> Result<Checked, EffectError> {
    let failed = |error: rusqlite::Error| sqlite_error(subject, &error);
    let inspect = || {
        read_database(subject, path, stop, |connection| {
            check_integrity(subject, connection, request.full)?;
            if request.foreign_keys {
                check_foreign_keys(subject, connection)?;
            }
            let journal_mode: String =
                connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
            let digest = request.digest.then(|| digest(connection, table_names(connection)?.iter()));
            Ok((journal_mode, digest.transpose().map_err(failed)?))
        })
    };
    let count = || read_database(subject, path, stop, |connection| count_rows(connection).map_err(failed));
    let ((journal_mode, digest), tables) = join(inspect, count)?;
    Ok(Checked {
        exists: true,
        empty: is_empty(&tables),
        tables,
        journal_mode: Some(journal_mode),
        size: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        digest,
    })
}

/// Fails if SQLite finds a fault in the database. With `full`, every index is compared with its table, too.
pub(super) fn check_integrity(subject: &str, connection: &Connection, full: bool) -> Result<(), EffectError> {
    let pragma = if full { "integrity_check" } else { "quick_check" };
    let faults = first_rows(connection, &format!("PRAGMA {pragma}({FAULT_LIMIT})"), |row| row.get(0));
    let mut faults = faults.map_err(|error| sqlite_error(subject, &error))?;
    faults.retain(|fault: &String| fault != "ok");
    if faults.is_empty() { Ok(()) } else { Err(corrupt(subject, &format!("`{pragma}` found faults"), &faults)) }
}

/// Fails if a foreign key points to no row.
pub(super) fn check_foreign_keys(subject: &str, connection: &Connection) -> Result<(), EffectError> {
    let orphans = first_rows(connection, "PRAGMA foreign_key_check", describe_orphan);
    let orphans = orphans.map_err(|error| sqlite_error(subject, &error))?;
    if orphans.is_empty() { Ok(()) } else { Err(corrupt(subject, "rows point to rows that do not exist", &orphans)) }
}

fn corrupt(subject: &str, what: &str, faults: &[String]) -> EffectError {
    let count = if faults.len() < FAULT_LIMIT { faults.len().to_string() } else { format!("{FAULT_LIMIT} or more") };
    EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{subject}` is damaged: {what} ({count})"))
        .hint("restore it from a backup, or save what can be read: sqlite3 FILE .recover")
        .detail(faults.join("\n"))
}

/// Returns the first rows of a query.
fn first_rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.take(FAULT_LIMIT).collect()
}

fn describe_orphan(row: &Row<'_>) -> rusqlite::Result<String> {
    let (table, rowid, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let rowid = rowid.map(|rowid| format!(" {rowid}")).unwrap_or_default();
    Ok(format!("row{rowid} of `{table}` points to no row of `{parent}`"))
}

/// Number of rows by table.
pub(super) type RowCounts = BTreeMap<String, u64>;

/// Counts the rows of every table.
pub(super) fn count_rows(connection: &Connection) -> rusqlite::Result<RowCounts> {
    let count = |name: String| {
        let quoted = name.replace('"', "\"\"");
        let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| row.get(0))?;
        Ok((name, u64::try_from(rows).unwrap_or(0)))
    };
    table_names(connection)?.into_iter().map(count).collect()
}

/// Returns whether no table has a row.
pub(super) fn is_empty(tables: &RowCounts) -> bool {
    tables.values().all(|rows| *rows == 0)
}

/// Returns the names of the tables in order, without SQLite's internal ones and without virtual tables, which can be read
/// only with the extension that created them.
fn table_names(connection: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND sql NOT LIKE 'CREATE VIRTUAL TABLE%'";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}
