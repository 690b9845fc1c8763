//! The rows of a simulated database, asked and changed through a SQLite in memory. Knows nothing of files.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rusqlite::types::{Value as Sql, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::effect::sqlite::{QuerySqlite, ROW_LIMIT, Schema};
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::sqlite_schema;

/// A row: column to value.
pub(super) type Row = Map<String, Value>;
/// Rows by table.
type Tables = BTreeMap<String, Vec<Row>>;

/// Rows as text, by the place of their database and their table.
pub type Rows = BTreeMap<(String, String), Vec<String>>;

/// A database: its tables' rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    pub tables: Tables,
    /// The statements that make its tables and what belongs to them. A table without one has the columns of its rows.
    pub schema: Vec<String>,
    pub corrupt: bool,
    /// Whether a check of the foreign keys finds a row without its parent.
    pub orphans: bool,
}

impl super::sim_host::SimHost {
    /// The rows of all databases.
    pub(super) fn rows(&self) -> Rows {
        let in_volumes = self.volumes.0.iter().flat_map(|(volume, held)| {
            held.databases.iter().map(move |(path, database)| (format!("{volume}:{path}"), database))
        });
        let outside = self.databases.iter().map(|(path, database)| (path.clone(), database));
        let tables = in_volumes.chain(outside).flat_map(|(place, database)| {
            database.tables.iter().map(move |(table, rows)| ((place.clone(), table.clone()), rows))
        });
        let text = |rows: &Vec<Row>| rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
        tables.map(|(key, rows)| (key, text(rows))).collect()
    }
}

/// SQLite's pages, for a plausible size.
const PAGE_BYTES: u64 = 4096;

impl Database {
    /// Rows of every table.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let count = |rows: &Vec<Row>| u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.tables.iter().map(|(name, rows)| (name.clone(), count(rows))).collect()
    }

    /// As large as its file would be, in bytes.
    pub(super) fn size(&self) -> u64 {
        PAGE_BYTES * (1 + self.tables.len() as u64)
    }

    /// Tells it from others: two that are equal are the same.
    pub(super) fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn schema_of(&self) -> Result<Schema, EffectError> {
        open(self).and_then(|connection| sqlite_schema(&connection)).map_err(|error| wrong(&error))
    }

    pub(super) fn query(&self, request: &QuerySqlite) -> Result<Vec<Row>, EffectError> {
        query(self, request)
    }

    /// Changes it by statements, all or none of them.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), EffectError> {
        let changed = open(self).and_then(|connection| {
            connection.execute_batch(sql)?;
            read_back(&connection)
        });
        let (schema, tables) = changed
            .map_err(|error| EffectError::new(ErrorKind::Failed, format!("the SQL fails: {error}")).not_applied())?;
        (self.schema, self.tables) = (schema, tables);
        Ok(())
    }
}

fn wrong(error: &rusqlite::Error) -> EffectError {
    EffectError::new(ErrorKind::Invalid, format!("the SQL is wrong: {error}")).not_applied()
}

fn query(database: &Database, request: &QuerySqlite) -> Result<Vec<Row>, EffectError> {
    let wrong = |error: rusqlite::Error| wrong(&error);
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
    for statement in &database.schema {
        connection.execute_batch(statement)?;
    }
    let known = sqlite_schema(&connection)?.tables;
    for (table, rows) in &database.tables {
        let columns: BTreeSet<&String> = rows.iter().flat_map(Map::keys).collect();
        let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        if !known.contains_key(table) {
            let all = if names.is_empty() { "id".to_owned() } else { names.join(", ") };
            connection.execute(&format!("CREATE TABLE {} ({all})", quoted(table)), [])?;
        }
        let marks = vec!["?"; names.len()].join(", ");
        for row in rows.iter().filter(|_| !names.is_empty()) {
            let values = columns.iter().map(|column| row.get(*column).map_or(Sql::Null, to_sql));
            let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table), names.join(", "));
            connection.execute(&sql, rusqlite::params_from_iter(values))?;
        }
    }
    Ok(connection)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What [`open`] takes: statements and rows.
fn read_back(connection: &Connection) -> Result<(Vec<String>, Tables), rusqlite::Error> {
    // Tables first, since the others name them.
    let order = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                 ORDER BY type <> 'table', rowid";
    let schema = connection.prepare(order)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut tables = BTreeMap::new();
    for table in sqlite_schema(connection)?.tables.into_keys() {
        let mut statement = connection.prepare(&format!("SELECT * FROM {}", quoted(&table)))?;
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let rows = statement.query_map([], |row| {
            columns.iter().enumerate().map(|(i, column)| Ok((column.clone(), from_sql(row.get_ref(i)?)))).collect()
        })?;
        tables.insert(table, rows.collect::<Result<Vec<Row>, _>>()?);
    }
    Ok((schema, tables))
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
