//! A simulated database: rows that are queried and changed through an in-memory SQLite. Knows nothing of files.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rusqlite::types::{Value as Sql, ValueRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::effect::EffectError;
use crate::effect::sqlite::{QuerySqlite, ROW_LIMIT, Schema, sql_failed, sql_invalid};
use crate::world::services::read_schema;

/// A row: column to value.
pub type Row = Map<String, Value>;

/// Rows by table.
type Tables = BTreeMap<String, Vec<Row>>;

/// Rows by database address and table.
pub type DatabaseRows = BTreeMap<(String, String), Vec<Row>>;

/// A database: the rows of its tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimDatabase {
    /// Rows by table.
    pub tables: Tables,
    /// Statements that create its tables and indexes. A table without one has the columns of its rows.
    pub schema: Vec<String>,
    /// Whether the file is damaged.
    pub corrupt: bool,
    /// Whether a foreign key check finds a row without its parent.
    pub orphans: bool,
}

/// SQLite's page size, for a plausible file size.
const PAGE_BYTES: u64 = 4096;

impl SimDatabase {
    /// Returns the number of rows by table.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let count = |rows: &Vec<Row>| u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.tables.iter().map(|(name, rows)| (name.clone(), count(rows))).collect()
    }

    /// Returns the approximate size of its file, in bytes.
    pub(crate) fn size(&self) -> u64 {
        PAGE_BYTES * (1 + self.tables.len() as u64)
    }

    /// Returns an id of its content: equal databases have equal ids.
    pub(crate) fn id(&self) -> String {
        use sha2::{Digest, Sha256};
        let text = serde_json::to_string(self).unwrap_or_default();
        Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn schema_of(&self) -> Result<Schema, EffectError> {
        open(self).and_then(|connection| read_schema(&connection)).map_err(|error| sql_invalid(&error))
    }

    pub(crate) fn query(&self, request: &QuerySqlite) -> Result<Vec<Row>, EffectError> {
        query(self, request)
    }

    /// Runs statements, all or none of them.
    pub(crate) fn run(&mut self, sql: &str) -> Result<(), EffectError> {
        let changed = open(self).and_then(|connection| {
            connection.execute_batch(sql)?;
            read_back(&connection)
        });
        let (schema, tables) = changed.map_err(|error| sql_failed(&error).not_applied())?;
        (self.schema, self.tables) = (schema, tables);
        Ok(())
    }
}

fn query(database: &SimDatabase, request: &QuerySqlite) -> Result<Vec<Row>, EffectError> {
    let invalid = |error: rusqlite::Error| sql_invalid(&error);
    let connection = open(database).map_err(invalid)?;
    let mut statement = connection.prepare(&request.sql).map_err(invalid)?;
    if !statement.readonly() {
        return Err(QuerySqlite::writes());
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let params = rusqlite::params_from_iter(request.params.iter().map(to_sql));
    let mut rows = statement.query(params).map_err(invalid)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(invalid)? {
        if found.len() == ROW_LIMIT {
            return Err(QuerySqlite::result_too_large());
        }
        let values = columns.iter().enumerate().map(|(i, column)| Ok((column.clone(), from_sql(row.get_ref(i)?))));
        found.push(values.collect::<Result<Row, rusqlite::Error>>().map_err(invalid)?);
    }
    Ok(found)
}

/// Opens an in-memory SQLite with the same tables and rows.
fn open(database: &SimDatabase) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_in_memory()?;
    for statement in &database.schema {
        connection.execute_batch(statement)?;
    }
    let known = read_schema(&connection)?.tables;
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

/// Reads back what [`open`] takes: statements and rows.
fn read_back(connection: &Connection) -> Result<(Vec<String>, Tables), rusqlite::Error> {
    // Tables first, because the others refer to them.
    let order = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                 ORDER BY type <> 'table', rowid";
    let schema = connection.prepare(order)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut tables = BTreeMap::new();
    for table in read_schema(connection)?.tables.into_keys() {
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
