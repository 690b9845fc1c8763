//! `sqlite_schema_diff`: what changed between two schemas, and what that may do to rows and to the version that runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Column, DatabasePlace, Schema, Table, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::facts::GRACE;
use crate::effect::{Access, Facts, Request};

/// `sqlite_schema_diff`: compares two schemas or two databases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffSchema {
    pub before: SchemaSource,
    pub after: SchemaSource,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

/// A schema, or a database that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a schema from `sqlite_schema`, a path, or a map with `path` and `volume` or `container`"
)]
pub enum SchemaSource {
    Schema(Schema),
    Place(DatabasePlace),
    Path(String),
}

impl SchemaSource {
    /// The database to read it from, where it is not given.
    pub fn place(&self) -> Option<DatabasePlace> {
        match self {
            Self::Schema(_) => None,
            Self::Place(place) => Some(place.clone()),
            Self::Path(path) => Some(DatabasePlace::on_host(path)),
        }
    }
}

impl Facts for DiffSchema {
    fn access(&self) -> Access {
        Access::Read
    }

    fn patience(&self) -> Duration {
        self.timeout.0 + GRACE
    }

    fn subject(&self) -> String {
        let name = |source: &SchemaSource| source.place().map_or("schema".into(), |place| place.to_string());
        format!("{} -> {}", name(&self.before), name(&self.after))
    }
}

impl Request for DiffSchema {
    const KIND: &'static str = "sqlite_schema_diff";
    type Reply = SchemaDiff;
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDiff {
    pub changes: Vec<SchemaChange>,
    /// Whether a change may lose values that are stored.
    pub destructive: bool,
    /// Whether a version that knows the schema of before may fail on the schema of after.
    pub breaking: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    pub change: ChangeKind,
    /// The table, index, trigger or view.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    pub destructive: bool,
    pub breaking: bool,
    /// Why it is destructive or breaking; empty when it is neither.
    #[serde(default)]
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    TableAdded,
    TableRemoved,
    /// Something of its statement that is no column: a constraint, STRICT, WITHOUT ROWID.
    TableChanged,
    ColumnAdded,
    ColumnRemoved,
    ColumnChanged,
    IndexAdded,
    IndexRemoved,
    IndexChanged,
    TriggerAdded,
    TriggerRemoved,
    TriggerChanged,
    ViewAdded,
    ViewRemoved,
    ViewChanged,
}

/// What a change does, and why.
#[derive(Clone, Copy)]
enum Weight {
    Harmless,
    Breaking(&'static str),
    Destructive(&'static str),
}

use Weight::{Breaking, Destructive, Harmless};

impl SchemaDiff {
    /// What leads from one schema to the other.
    pub fn between(before: &Schema, after: &Schema) -> Self {
        let mut diff = Self::default();
        diff.tables(before, after);
        diff.things(
            &before.indexes,
            &after.indexes,
            |index| same(&index.sql),
            |old, new| {
                use ChangeKind::{IndexAdded, IndexChanged, IndexRemoved};
                let unique = "rows that were allowed are refused now";
                match (old, new) {
                    (Some(_), None) => (IndexRemoved, Harmless),
                    (None, Some(new)) if new.unique && before.tables.contains_key(&new.table) => {
                        (IndexAdded, Breaking(unique))
                    }
                    (None, _) => (IndexAdded, Harmless),
                    (Some(_), Some(new)) if new.unique => (IndexChanged, Breaking(unique)),
                    (Some(_), Some(_)) => (IndexChanged, Harmless),
                }
            },
        );
        diff.things(
            &before.triggers,
            &after.triggers,
            |trigger| same(&trigger.sql),
            |old, new| {
                use ChangeKind::{TriggerAdded, TriggerChanged, TriggerRemoved};
                let known = |table: &str| before.tables.contains_key(table) || before.views.contains_key(table);
                match (old, new) {
                    (Some(_), None) => (TriggerRemoved, Breaking("what it did on every write is not done any more")),
                    (None, Some(new)) if known(&new.table) => {
                        (TriggerAdded, Breaking("it may refuse or change writes"))
                    }
                    (None, _) => (TriggerAdded, Harmless),
                    (Some(_), Some(_)) => (TriggerChanged, Breaking("writes do something else from now on")),
                }
            },
        );
        diff.things(
            &before.views,
            &after.views,
            |view| same(&view.sql),
            |old, new| {
                use ChangeKind::{ViewAdded, ViewChanged, ViewRemoved};
                match (old, new) {
                    (Some(_), None) => (ViewRemoved, Breaking("queries of it fail")),
                    (None, _) => (ViewAdded, Harmless),
                    (Some(_), Some(_)) => (ViewChanged, Breaking("queries of it may fail or find something else")),
                }
            },
        );
        diff
    }

    fn note(&mut self, change: ChangeKind, name: &str, column: Option<&str>, weight: Weight) {
        let (destructive, breaking, why) = match weight {
            Harmless => (false, false, ""),
            Breaking(why) => (false, true, why),
            Destructive(why) => (true, true, why),
        };
        self.destructive |= destructive;
        self.breaking |= breaking;
        let (name, column, why) = (name.into(), column.map(Into::into), why.into());
        self.changes.push(SchemaChange { change, name, column, destructive, breaking, why });
    }

    fn things<T>(
        &mut self,
        before: &BTreeMap<String, T>,
        after: &BTreeMap<String, T>,
        key: impl Fn(&T) -> String,
        judge: impl Fn(Option<&T>, Option<&T>) -> (ChangeKind, Weight),
    ) {
        for (name, old) in before {
            let new = after.get(name);
            if new.is_none_or(|new| key(new) != key(old)) {
                let (change, weight) = judge(Some(old), new);
                self.note(change, name, None, weight);
            }
        }
        for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let (change, weight) = judge(None, Some(new));
            self.note(change, name, None, weight);
        }
    }

    fn tables(&mut self, before: &Schema, after: &Schema) {
        for (name, old) in &before.tables {
            match after.tables.get(name) {
                None => self.note(ChangeKind::TableRemoved, name, None, Destructive("its rows are gone")),
                Some(new) if same(&new.sql) == same(&old.sql) && new.columns == old.columns => {}
                Some(new) => self.columns(name, old, new),
            }
        }
        for name in after.tables.keys().filter(|name| !before.tables.contains_key(*name)) {
            self.note(ChangeKind::TableAdded, name, None, Harmless);
        }
    }

    fn columns(&mut self, table: &str, old: &Table, new: &Table) {
        let count = self.changes.len();
        let find = |table: &Table, name: &str| table.columns.iter().find(|column| column.name == name).cloned();
        for column in &old.columns {
            let name = Some(column.name.as_str());
            match find(new, &column.name) {
                None if column.generated => {
                    self.note(ChangeKind::ColumnRemoved, table, name, Breaking("queries that name it fail"));
                }
                None => self.note(ChangeKind::ColumnRemoved, table, name, Destructive("its values are gone")),
                Some(after) if after == *column => {}
                Some(after) => self.note(ChangeKind::ColumnChanged, table, name, judged(column, &after)),
            }
        }
        for column in new.columns.iter().filter(|column| find(old, &column.name).is_none()) {
            let needs_value = column.not_null && column.default.is_none() && !column.generated;
            let weight = if needs_value {
                Breaking("NOT NULL without a default: inserts that do not know it fail")
            } else {
                Harmless
            };
            self.note(ChangeKind::ColumnAdded, table, Some(&column.name), weight);
        }
        if self.changes.len() == count || constraints(&new.sql) > constraints(&old.sql) {
            let why = "a constraint or option of the table is another: writes that were allowed may be refused";
            self.note(ChangeKind::TableChanged, table, None, Breaking(why));
        }
    }
}

fn judged(old: &Column, new: &Column) -> Weight {
    if affinity(&old.kind) != affinity(&new.kind) {
        Destructive("its type is another: values may be converted, or not fit")
    } else if old.primary_key != new.primary_key {
        Breaking("the primary key is another: writes that were allowed may be refused")
    } else if new.not_null && !old.not_null {
        Breaking("NOT NULL now: writes that leave it out fail")
    } else if old.generated != new.generated {
        Destructive("it is computed now, or was before")
    } else if old.default.is_some() && new.default.is_none() && new.not_null {
        Breaking("without its default, inserts that leave it out fail")
    } else {
        Harmless
    }
}

/// What a declared type means to SQLite (datatypes, section 3.1).
fn affinity(kind: &str) -> &'static str {
    let kind = kind.to_ascii_uppercase();
    let has = |word: &str| kind.contains(word);
    match () {
        () if has("INT") => "integer",
        () if has("CHAR") || has("CLOB") || has("TEXT") => "text",
        () if has("BLOB") || kind.is_empty() => "blob",
        () if has("REAL") || has("FLOA") || has("DOUB") => "real",
        () => "numeric",
    }
}

/// Words of a table's statement that forbid rows.
fn constraints(sql: &str) -> usize {
    let sql = sql.to_ascii_uppercase();
    ["CHECK", "UNIQUE", "STRICT", "WITHOUT"].iter().map(|word| sql.matches(word).count()).sum()
}

/// A statement less what changes nothing: blanks, and the quotes that ALTER TABLE RENAME puts around names.
fn same(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut is_value = false;
    for letter in sql.chars() {
        if letter == '\'' {
            is_value = !is_value;
        }
        let skipped = letter.is_whitespace() || matches!(letter, '"' | '`' | '[' | ']');
        if is_value || !skipped {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests;
