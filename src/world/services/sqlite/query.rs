//! `sqlite_query`: the rows of one SELECT as values. Knows no thread and no deadline.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::limits::Limit;
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement};
use serde_json::{Map, Number, Value};

use super::connection::{read_database, sqlite_error};
use super::worker::StopSignal;
use crate::effect::sqlite::{QuerySqlite, ROW_LIMIT, sql_invalid};
use crate::effect::{EffectError, ErrorKind};

/// Most bytes of values in a reply.
const REPLY_LIMIT: usize = 16 << 20;

/// Returns one map per row. Blobs become base64 text. Infinite numbers become null, since JSON has none.
pub(super) fn query(
    subject: &str,
    path: &Path,
    request: &QuerySqlite,
    stop: &StopSignal,
) -> Result<Vec<Map<String, Value>>, EffectError> {
    let params: Vec<SqlValue> = request.params.iter().map(param).collect::<Result<_, _>>()?;
    read_database(subject, path, stop, |connection| rows(subject, connection, &request.sql, &params))
}

fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::new(ErrorKind::Invalid, message)
}

fn rows(
    subject: &str,
    connection: &Connection,
    sql: &str,
    params: &[SqlValue],
) -> Result<Vec<Map<String, Value>>, EffectError> {
    // Without this limit, ATTACH could reach other files and VACUUM INTO could write one, even on a read-only connection.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(|error| sqlite_error(subject, &error))?;
    let mut statement = connection.prepare(sql).map_err(|error| query_error(subject, &error))?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(QuerySqlite::writes());
    }
    if statement.parameter_count() != params.len() {
        let (expected, given) = (statement.parameter_count(), params.len());
        return Err(invalid(format!("the SQL has {expected} `?`, but `params` has {given} values")));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    collect(&mut statement, &columns, params).map_err(|error| match error {
        CollectError::Sql(error) => query_error(subject, &error),
        CollectError::TooMany => QuerySqlite::result_too_large(),
    })
}

/// Why the rows could not be collected.
enum CollectError {
    Sql(rusqlite::Error),
    TooMany,
}

impl From<rusqlite::Error> for CollectError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn collect(
    statement: &mut Statement<'_>,
    columns: &[String],
    params: &[SqlValue],
) -> Result<Vec<Map<String, Value>>, CollectError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        if found.len() == ROW_LIMIT {
            return Err(CollectError::TooMany);
        }
        let mut map = Map::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index)?;
            bytes += size(value);
            if bytes > REPLY_LIMIT {
                return Err(CollectError::TooMany);
            }
            map.insert(column.clone(), json(value));
        }
        found.push(map);
    }
    Ok(found)
}

/// Returns `invalid` for an error in the SQL itself, and the database's error otherwise.
fn query_error(subject: &str, error: &rusqlite::Error) -> EffectError {
    match (error, error.sqlite_error_code()) {
        (rusqlite::Error::MultipleStatement, _) => invalid("`sqlite_query` takes one statement"),
        (_, Some(ErrorCode::Unknown | ErrorCode::AuthorizationForStatementDenied | ErrorCode::ApiMisuse))
        | (_, None) => sql_invalid(error),
        _ => sqlite_error(subject, error),
    }
}

fn size(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => size_of::<i64>(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
    }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into(),
        ValueRef::Blob(bytes) => STANDARD.encode(bytes).into(),
    }
}

fn param(value: &Value) -> Result<SqlValue, EffectError> {
    Ok(match value {
        Value::Null => SqlValue::Null,
        Value::Bool(truth) => SqlValue::Integer((*truth).into()),
        Value::String(text) => SqlValue::Text(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => SqlValue::Integer(integer),
            (None, Some(real)) => SqlValue::Real(real),
            (None, None) => return Err(invalid(format!("SQLite cannot store the number {number}"))),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(invalid("`params` takes strings, numbers, booleans and null, but no lists or maps"));
        }
    })
}
