//! The rows of one SELECT as values. Knows no thread and no deadline.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::limits::Limit;
use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement};
use serde_json::{Map, Number, Value};

use super::file::{reading, wrong};
use super::thread::Stop;
use crate::effect::sqlite::{QuerySqlite, ROW_LIMIT};
use crate::effect::{EffectError, ErrorKind};

/// Bytes of values that an answer has at the most.
const ANSWER_LIMIT: usize = 16 << 20;

/// One map a row. Blobs become base64 text; infinite numbers become null, as JSON has none.
pub(super) fn query(
    subject: &str,
    path: &Path,
    request: &QuerySqlite,
    stop: &Stop,
) -> Result<Vec<Map<String, Value>>, EffectError> {
    let params: Vec<SqlValue> = request.params.iter().map(param).collect::<Result<_, _>>()?;
    reading(subject, path, stop, |connection| rows(subject, connection, &request.sql, &params))
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
    // Without it, ATTACH reaches other files and VACUUM INTO writes one, read-only connection or not.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(|error| wrong(subject, &error))?;
    let mut statement = connection.prepare(sql).map_err(|error| refused(subject, &error))?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(invalid("`sqlite_query` only reads: the SQL must be one SELECT"));
    }
    if statement.parameter_count() != params.len() {
        let (wants, has) = (statement.parameter_count(), params.len());
        return Err(invalid(format!("the SQL has {wants} `?` and `params` has {has} values")));
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    collect(&mut statement, &columns, params).map_err(|stopped| match stopped {
        Stopped::Sql(error) => refused(subject, &error),
        Stopped::TooMany => {
            invalid(format!("the SQL has more than {ROW_LIMIT} rows or 16 MiB to return")).hint("narrow it with LIMIT")
        }
    })
}

enum Stopped {
    Sql(rusqlite::Error),
    TooMany,
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn collect(
    statement: &mut Statement<'_>,
    columns: &[String],
    params: &[SqlValue],
) -> Result<Vec<Map<String, Value>>, Stopped> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut rows = statement.query(rusqlite::params_from_iter(params))?;
    while let Some(row) = rows.next()? {
        if found.len() == ROW_LIMIT {
            return Err(Stopped::TooMany);
        }
        let mut map = Map::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let value = row.get_ref(index)?;
            bytes += size(value);
            if bytes > ANSWER_LIMIT {
                return Err(Stopped::TooMany);
            }
            map.insert(column.clone(), json(value));
        }
        found.push(map);
    }
    Ok(found)
}

/// An error of the SQL itself is the asker's; the rest is the database's.
fn refused(subject: &str, error: &rusqlite::Error) -> EffectError {
    match (error, error.sqlite_error_code()) {
        (rusqlite::Error::MultipleStatement, _) => invalid("`sqlite_query` takes one statement"),
        (_, Some(ErrorCode::Unknown | ErrorCode::AuthorizationForStatementDenied | ErrorCode::ApiMisuse))
        | (_, None) => invalid(format!("the SQL is refused: {error}")),
        _ => wrong(subject, error),
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
            (None, None) => return Err(invalid(format!("{number} is no number that SQLite has"))),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(invalid("`params` takes texts, numbers, booleans and null, no lists or maps"));
        }
    })
}
