//! Errors about databases that every world can meet, and checks of requests, written once.

use std::fmt;

use super::{DatabaseLocation, DatabaseUsers, DryRunMigration, QuerySqlite, ROW_LIMIT, RestoreSqlite};
use crate::base::object_url::ObjectUrl;
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for a database that does not exist.
pub fn database_not_found(database: &impl fmt::Display) -> EffectError {
    EffectError::not_found(format!("database `{database}` does not exist"))
}

/// Returns the error for a damaged database.
pub fn database_damaged(database: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::DatabaseCorrupt, format!("database `{database}` is damaged"))
        .hint("restore it from a backup")
        .not_applied()
}

/// Returns the error for statements that failed.
pub fn sql_failed(error: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("the SQL failed: {error}"))
}

/// Returns the error for a query that is not valid.
pub fn sql_invalid(error: &impl fmt::Display) -> EffectError {
    EffectError::invalid(format!("the SQL is not valid: {error}"))
}

/// The statements of a request: its `sql`, or the content of its `file`.
#[derive(Clone, Copy, Debug)]
pub enum SqlSource<'a> {
    /// The statements.
    Sql(&'a str),
    /// The path of a file with the statements.
    File(&'a str),
}

impl<'a> SqlSource<'a> {
    /// Returns where the statements are.
    ///
    /// # Errors
    /// Fails unless exactly one of both is given.
    pub fn new(sql: Option<&'a String>, file: Option<&'a String>) -> Result<Self, EffectError> {
        match (sql, file) {
            (Some(sql), None) => Ok(Self::Sql(sql)),
            (None, Some(file)) => Ok(Self::File(file)),
            _ => Err(EffectError::invalid("give either `sql` or `file`")),
        }
    }
}

impl QuerySqlite {
    /// Returns the error for a statement that is no SELECT.
    pub fn writes() -> EffectError {
        EffectError::invalid("`sqlite_query` only reads: the SQL must be one SELECT")
    }

    /// Returns the error for a result that is too large.
    pub fn result_too_large() -> EffectError {
        EffectError::invalid(format!("the result has more than {ROW_LIMIT} rows or 16 MiB"))
            .hint("reduce it with LIMIT")
    }
}

impl RestoreSqlite {
    /// Returns the copy to restore.
    ///
    /// # Errors
    /// Fails if it is not given.
    pub fn required_source(&self) -> Result<&ObjectUrl, EffectError> {
        self.from.as_ref().ok_or_else(|| EffectError::invalid("set `from` to the copy to restore"))
    }
}

impl DryRunMigration {
    /// Checks that one kind of migration is given.
    ///
    /// # Errors
    /// Fails if none is given, or several.
    pub fn validate(&self) -> Result<(), EffectError> {
        match &self.image {
            Some(_) if self.command.is_empty() || self.sql.is_some() || self.file.is_some() => {
                Err(EffectError::invalid("`image` needs `command`, and excludes `sql` and `file`"))
            }
            Some(_) => Ok(()),
            None => SqlSource::new(self.sql.as_ref(), self.file.as_ref()).map(drop),
        }
    }

    /// Returns the error for a migration program that failed.
    pub fn failed(&self, image: &str, exit_code: i64) -> EffectError {
        let command = self.command.join(" ");
        let message = format!("the migration `{command}` of `{image}` ended with exit code {exit_code}");
        EffectError::new(ErrorKind::Failed, message)
    }
}

impl DatabaseUsers {
    /// Checks that nothing has the database open.
    ///
    /// # Errors
    /// Fails if something has, and names it.
    pub fn refuse_in_use(&self, location: &DatabaseLocation) -> Result<(), EffectError> {
        if !self.in_use {
            return Ok(());
        }
        let users = self.names().join(", ");
        Err(EffectError::conflict(format!("database `{location}` is in use by {users}"))
            .hint("stop them first: `docker_stop`"))
    }
}
