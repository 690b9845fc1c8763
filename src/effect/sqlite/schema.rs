//! `sqlite_schema`: the schema of a database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DatabaseLocation, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::request::request;

/// `sqlite_schema`: reads the tables, indexes, triggers and views of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadSchema {
    /// The database.
    #[serde(flatten)]
    pub location: DatabaseLocation,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

request! {
    ReadSchema {
        kind: "sqlite_schema",
        reply: Schema,
        access: Read,
        deadline: timeout,
        subject: location,
    }
}

/// The schema of a database, by name, without SQLite's own tables and indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The tables.
    pub tables: BTreeMap<String, Table>,
    /// The indexes.
    #[serde(default)]
    pub indexes: BTreeMap<String, Index>,
    /// The triggers.
    #[serde(default)]
    pub triggers: BTreeMap<String, Trigger>,
    /// The views.
    #[serde(default)]
    pub views: BTreeMap<String, View>,
    /// `PRAGMA user_version`, in which many apps count their migrations.
    #[serde(default)]
    pub user_version: i64,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The columns, in their order.
    pub columns: Vec<Column>,
    /// The statement that creates it.
    #[serde(default)]
    pub sql: String,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type as it was declared; may be empty.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Whether NULL is forbidden.
    #[serde(default)]
    pub not_null: bool,
    /// The SQL of its default value.
    #[serde(default)]
    pub default: Option<String>,
    /// Its position in the primary key, from 1; 0 if it is not in it.
    #[serde(default)]
    pub primary_key: u32,
    /// Whether it is computed from other columns.
    #[serde(default)]
    pub generated: bool,
}

/// An index that a statement created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The table.
    pub table: String,
    /// Whether duplicates are forbidden.
    #[serde(default)]
    pub unique: bool,
    /// The statement that creates it.
    #[serde(default)]
    pub sql: String,
}

/// A trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The table or view that it watches.
    pub table: String,
    /// The statement that creates it.
    #[serde(default)]
    pub sql: String,
}

/// A view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The statement that creates it.
    #[serde(default)]
    pub sql: String,
}
