//! Runs SQL of several statements. Knows no file.

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::limits::Limit;
use rusqlite::{Batch, Connection};

use super::super::reason::clip;
use super::file::wrong;
use super::thread::Stop;
use crate::effect::{EffectError, ErrorKind};

/// Characters of a statement that an error shows.
const SHOWN: usize = 200;
/// Largest file of statements.
pub(super) const SQL_LIMIT: u64 = 64 << 20;

/// Who begins and ends transactions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    /// The caller: those of the SQL are passed over, as a dump has them.
    Callers,
    /// The SQL itself.
    Own,
}

pub(super) fn run(
    subject: &str,
    connection: &Connection,
    sql: &str,
    transaction: Transaction,
    stop: &Stop,
) -> Result<(), EffectError> {
    // Without it, ATTACH reaches other files.
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(|error| wrong(subject, &error))?;
    let mut batch = Batch::new(connection, sql);
    loop {
        stop.check()?;
        let refused = |error: &rusqlite::Error, statement: &str| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::Unknown | rusqlite::ErrorCode::ConstraintViolation) | None => {
                EffectError::new(ErrorKind::Failed, format!("the SQL fails: {error}")).detail(clip(statement, SHOWN))
            }
            _ => wrong(subject, error),
        };
        let Some(mut statement) = batch.next().map_err(|error| refused(&error, ""))? else { return Ok(()) };
        let text = statement.expanded_sql().unwrap_or_default();
        match first_word(&text).as_str() {
            "BEGIN" | "COMMIT" | "END" if transaction == Transaction::Callers => continue,
            "ROLLBACK" | "VACUUM" if transaction == Transaction::Callers => {
                let message = "the SQL must not roll back or VACUUM: it is one transaction with all that is done here";
                return Err(EffectError::new(ErrorKind::Invalid, message).detail(clip(&text, SHOWN)));
            }
            _ => {}
        }
        let mut rows = statement.raw_query();
        while rows.next().map_err(|error| refused(&error, &text))?.is_some() {
            stop.check()?;
        }
    }
}

fn first_word(sql: &str) -> String {
    let mut rest = sql.trim_start();
    loop {
        rest = if let Some(remark) = rest.strip_prefix("--") {
            remark.split_once('\n').map_or("", |(_, rest)| rest).trim_start()
        } else if let Some(remark) = rest.strip_prefix("/*") {
            remark.split_once("*/").map_or("", |(_, rest)| rest).trim_start()
        } else {
            break;
        };
    }
    rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase()
}

/// The statements of a request: its text, or those of its file.
pub(super) async fn text_of(sql: Option<&String>, file: Option<&String>) -> Result<String, EffectError> {
    let invalid = |message: String| EffectError::new(ErrorKind::Invalid, message).not_applied();
    match (sql, file) {
        (Some(sql), None) => Ok(sql.clone()),
        (None, Some(file)) => {
            let path = std::path::Path::new(file);
            let wrong = |error: std::io::Error| super::super::storage::file_wrong("read", path, &error).not_applied();
            if tokio::fs::metadata(path).await.map_err(wrong)?.len() > SQL_LIMIT {
                return Err(invalid(format!("`{file}` is larger than {} MB", SQL_LIMIT >> 20)));
            }
            tokio::fs::read_to_string(path).await.map_err(wrong)
        }
        _ => Err(invalid("give either `sql` or `file`".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_no_words() {
        assert_eq!(first_word("-- a remark\n /* and more */ begin transaction"), "BEGIN");
        assert_eq!(first_word("-- nothing else"), "");
    }
}
