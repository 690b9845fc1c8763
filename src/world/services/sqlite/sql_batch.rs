//! Executes SQL of several statements. Knows no database file.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection};

use super::connection::sqlite_error;
use super::worker::StopSignal;
use crate::effect::sqlite::{SqlSource, sql_failed};
use crate::effect::{EffectError, ErrorKind};
use crate::world::services::error_text::truncate;
use crate::world::services::file_error::file_error;

/// Characters of a statement that an error shows.
const EXCERPT_LIMIT: usize = 200;
/// Largest file of statements.
const SQL_LIMIT: u64 = 64 << 20;

/// What begins and ends transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionControl {
    /// The caller. `BEGIN` and `COMMIT` in the SQL, as dumps have them, are skipped.
    Caller,
    /// The SQL itself.
    Sql,
}

/// Executes all statements.
pub(super) fn execute_batch(
    subject: &str,
    connection: &Connection,
    sql: &str,
    control: TransactionControl,
    stop: &StopSignal,
) -> Result<(), EffectError> {
    // Without this limit, ATTACH could reach other files.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(|error| sqlite_error(subject, &error))?;
    let mut batch = Batch::new(connection, sql);
    loop {
        stop.check()?;
        let failed = |error: &rusqlite::Error, statement: &str| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::Unknown | rusqlite::ErrorCode::ConstraintViolation) | None => {
                sql_failed(error).detail(truncate(statement, EXCERPT_LIMIT))
            }
            _ => sqlite_error(subject, error),
        };
        let Some(mut statement) = batch.next().map_err(|error| failed(&error, ""))? else { return Ok(()) };
        let text = statement.expanded_sql().unwrap_or_default();
        match first_keyword(&text).as_str() {
            "BEGIN" | "COMMIT" | "END" if control == TransactionControl::Caller => continue,
            "ROLLBACK" | "VACUUM" if control == TransactionControl::Caller => {
                let message = "the SQL runs in one transaction, so it must not contain ROLLBACK or VACUUM";
                return Err(EffectError::new(ErrorKind::Invalid, message).detail(truncate(&text, EXCERPT_LIMIT)));
            }
            _ => {}
        }
        let mut rows = statement.raw_query();
        while rows.next().map_err(|error| failed(&error, &text))?.is_some() {
            stop.check()?;
        }
    }
}

/// Returns the first word after comments, in capitals.
fn first_keyword(sql: &str) -> String {
    let mut rest = sql.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start()
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest).trim_start()
        } else {
            break;
        };
    }
    rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase()
}

/// Returns the statements of a request: its `sql`, or the content of its `file`.
pub(super) async fn read_sql(sql: Option<&String>, file: Option<&String>) -> Result<String, EffectError> {
    match SqlSource::new(sql, file)? {
        SqlSource::Sql(sql) => Ok(sql.to_owned()),
        SqlSource::File(file) => {
            let path = std::path::Path::new(file);
            let unreadable = |error: std::io::Error| file_error("read", path, &error).not_applied();
            if tokio::fs::metadata(path).await.map_err(unreadable)?.len() > SQL_LIMIT {
                return Err(EffectError::invalid(format!("`{file}` is larger than {} MB", SQL_LIMIT >> 20)));
            }
            tokio::fs::read_to_string(path).await.map_err(unreadable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_keywords() {
        assert_eq!(first_keyword("-- a comment\n /* and more */ begin transaction"), "BEGIN");
        assert_eq!(first_keyword("-- nothing else"), "");
    }
}
