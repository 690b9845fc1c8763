//! `sqlite_schema`: what a database is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DatabasePlace, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Request};

/// `sqlite_schema`: tables, indexes, triggers and views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadSchema {
    #[serde(flatten)]
    pub place: DatabasePlace,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

impl Facts for ReadSchema {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        self.place.to_string()
    }
}

impl Request for ReadSchema {
    const KIND: &'static str = "sqlite_schema";
    type Reply = Schema;
}

/// What a database is made of, by name. SQLite's own tables and indexes are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub tables: BTreeMap<String, Table>,
    #[serde(default)]
    pub indexes: BTreeMap<String, Index>,
    #[serde(default)]
    pub triggers: BTreeMap<String, Trigger>,
    #[serde(default)]
    pub views: BTreeMap<String, View>,
    /// `PRAGMA user_version`, which many apps count their migrations in.
    #[serde(default)]
    pub user_version: i64,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// In their order.
    pub columns: Vec<Column>,
    /// The statement that makes it.
    #[serde(default)]
    pub sql: String,
}

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// As it was declared; may be empty.
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub not_null: bool,
    /// The SQL of its default value.
    #[serde(default)]
    pub default: Option<String>,
    /// Its place in the primary key, from 1; 0 when it is not in it.
    #[serde(default)]
    pub primary_key: u32,
    /// Computed from others.
    #[serde(default)]
    pub generated: bool,
}

/// An index that a statement made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub table: String,
    #[serde(default)]
    pub unique: bool,
    #[serde(default)]
    pub sql: String,
}

/// A trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The table or view that it watches.
    pub table: String,
    #[serde(default)]
    pub sql: String,
}

/// A view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    #[serde(default)]
    pub sql: String,
}
