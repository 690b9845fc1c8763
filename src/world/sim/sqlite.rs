//! Databases of the simulated world: tables of rows, asked through a SQLite in memory. Knows nothing of files.
//!
//! Faults: no such database, a damaged one, broken foreign keys, SQL that is wrong or that would write, too many rows.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rusqlite::types::{Value as Sql, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sim_host::SimHost;
use crate::effect::sqlite::{Checked, QuerySqlite, ROW_LIMIT, SqliteEffect, SqliteOutcome};
use crate::effect::{EffectError, ErrorKind};

/// A row: column to value.
type Row = Map<String, Value>;

/// A database: its tables' rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub tables: BTreeMap<String, Vec<Row>>,
    pub corrupt: bool,
    /// Whether a check of the foreign keys finds a row without its parent.
    pub orphans: bool,
}

/// SQLite's pages, for a plausible size.
const PAGE_BYTES: u64 = 4096;

impl Database {
    /// As large as its file would be, in bytes.
    pub(super) fn size(&self) -> u64 {
        PAGE_BYTES * (1 + self.tables.len() as u64)
    }
}

impl SimHost {
    pub(super) fn sqlite(&mut self, effect: &SqliteEffect) -> Result<SqliteOutcome, EffectError> {
        match effect {
            SqliteEffect::Check(request) => {
                let Some(database) = self.database(request.volume.as_deref(), &request.path)? else {
                    if request.missing_ok {
                        let tables = BTreeMap::new();
                        let nothing = Checked { exists: false, empty: true, tables, journal_mode: None, size: 0 };
                        return Ok(SqliteOutcome::Check(nothing));
                    }
                    return Err(missing(&request.path));
                };
                if database.corrupt || (request.foreign_keys && database.orphans) {
                    return Err(damaged(&request.path));
                }
                let count = |rows: &Vec<Row>| u64::try_from(rows.len()).unwrap_or(u64::MAX);
                let tables: BTreeMap<String, u64> =
                    database.tables.iter().map(|(name, rows)| (name.clone(), count(rows))).collect();
                Ok(SqliteOutcome::Check(Checked {
                    exists: true,
                    empty: tables.values().all(|rows| *rows == 0),
                    size: database.size(),
                    tables,
                    journal_mode: Some("wal".into()),
                }))
            }
            SqliteEffect::Query(request) => {
                let database =
                    self.database(request.volume.as_deref(), &request.path)?.ok_or_else(|| missing(&request.path))?;
                if database.corrupt {
                    return Err(damaged(&request.path));
                }
                query(database, request).map(SqliteOutcome::Query)
            }
        }
    }

    fn database(&self, volume: Option<&str>, path: &str) -> Result<Option<&Database>, EffectError> {
        let Some(name) = volume else { return Ok(self.databases.get(path)) };
        let volume = self.volumes.0.get(name).ok_or_else(|| super::volumes::missing(name))?;
        Ok(volume.databases.get(path.trim_start_matches('/')))
    }

    /// Adds rows to the database at `VOLUME:PATH`, or at a path of the host; makes what is missing.
    pub(super) fn insert(&mut self, place: &str, tables: BTreeMap<String, Vec<Row>>) {
        let database = match place.split_once(':') {
            Some((volume, path)) => {
                self.volumes.ensure(volume);
                self.volumes.0.get_mut(volume).map(|volume| volume.databases.entry(path.into()).or_default())
            }
            None => Some(self.databases.entry(place.into()).or_default()),
        };
        if let Some(database) = database {
            for (table, rows) in tables {
                database.tables.entry(table).or_default().extend(rows);
            }
        }
    }
}

fn missing(path: &str) -> EffectError {
    EffectError::new(ErrorKind::NotFound, format!("database `{path}` does not exist")).not_applied()
}

fn damaged(path: &str) -> EffectError {
    EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{path}` is damaged"))
        .hint("restore it from a backup")
        .not_applied()
}

fn query(database: &Database, request: &QuerySqlite) -> Result<Vec<Row>, EffectError> {
    let wrong =
        |why: rusqlite::Error| EffectError::new(ErrorKind::Invalid, format!("the SQL is wrong: {why}")).not_applied();
    let connection = open(database).map_err(wrong)?;
    let mut statement = connection.prepare(&request.sql).map_err(wrong)?;
    if !statement.readonly() {
        let message = "`sqlite_query` only reads: the SQL would write";
        return Err(EffectError::new(ErrorKind::Invalid, message).not_applied());
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let params = rusqlite::params_from_iter(request.params.iter().map(to_sql));
    let mut rows = statement.query(params).map_err(wrong)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(wrong)? {
        if found.len() == ROW_LIMIT {
            let message = format!("the query returns more than {ROW_LIMIT} rows");
            return Err(EffectError::new(ErrorKind::Invalid, message).hint("add a LIMIT").not_applied());
        }
        let values = columns.iter().enumerate().map(|(i, column)| Ok((column.clone(), from_sql(row.get_ref(i)?))));
        found.push(values.collect::<Result<Row, rusqlite::Error>>().map_err(wrong)?);
    }
    Ok(found)
}

/// The same tables and rows in a real SQLite.
fn open(database: &Database) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_in_memory()?;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for (table, rows) in &database.tables {
        let columns: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let all = if names.is_empty() { "id".to_owned() } else { names.join(", ") };
        connection.execute(&format!("CREATE TABLE {} ({all})", quoted(table)), [])?;
        let marks = vec!["?"; names.len()].join(", ");
        for row in rows.iter().filter(|_| !names.is_empty()) {
            let values = columns.iter().map(|column| row.get(*column).map_or(Sql::Null, to_sql));
            let sql = format!("INSERT INTO {} VALUES ({marks})", quoted(table));
            connection.execute(&sql, rusqlite::params_from_iter(values))?;
        }
    }
    Ok(connection)
}

fn to_sql(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Bool(truth) => Sql::Integer(i64::from(*truth)),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Sql::Real(number.as_f64().unwrap_or_default()), Sql::Integer)
        }
        Value::String(text) => Sql::Text(text.clone()),
        nested => Sql::Text(nested.to_string()),
    }
}

fn from_sql(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    }
}
