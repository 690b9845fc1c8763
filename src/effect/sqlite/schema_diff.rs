//! `sqlite_schema_diff`: what changed between two schemas, and whether that may harm rows or the live version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Column, DatabaseLocation, Schema, Table, read_timeout};
use crate::base::duration_text::DurationText;
use crate::effect::request::request;

/// `sqlite_schema_diff`: compares two schemas or two databases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffSchema {
    /// The schema before.
    pub before: SchemaSource,
    /// The schema after.
    pub after: SchemaSource,
    /// Default 5 min.
    #[serde(default = "read_timeout")]
    pub timeout: DurationText,
}

/// A schema, or a database to read it from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a schema from `sqlite_schema`, a path, or a map with `path` and `volume` or `container`"
)]
pub enum SchemaSource {
    /// A schema from `sqlite_schema`.
    Schema(Schema),
    /// A database.
    Location(DatabaseLocation),
    /// The path of a database on this machine.
    Path(String),
}

impl SchemaSource {
    /// Returns the database to read the schema from, unless the schema is given.
    pub fn location(&self) -> Option<DatabaseLocation> {
        match self {
            Self::Schema(_) => None,
            Self::Location(location) => Some(location.clone()),
            Self::Path(path) => Some(DatabaseLocation::on_host(path)),
        }
    }
}

request! {
    DiffSchema {
        kind: "sqlite_schema_diff",
        reply: SchemaDiff,
        access: Read,
        deadline: timeout,
        subject: Self::both_sources,
    }
}

impl DiffSchema {
    fn both_sources(&self) -> String {
        let name = |source: &SchemaSource| source.location().map_or("schema".into(), |location| location.to_string());
        format!("{} -> {}", name(&self.before), name(&self.after))
    }
}

/// The differences between two schemas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDiff {
    /// The differences.
    pub changes: Vec<SchemaChange>,
    /// Whether a change may lose stored values.
    pub destructive: bool,
    /// Whether a version that expects the schema before may fail on the schema after.
    pub breaking: bool,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// What changed.
    pub change: ChangeKind,
    /// The table, index, trigger or view.
    pub name: String,
    /// The column, if one changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Whether it may lose stored values.
    pub destructive: bool,
    /// Whether a version that expects the schema before may fail.
    pub breaking: bool,
    /// Why it is destructive or breaking; empty if it is neither.
    #[serde(default)]
    pub why: String,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum ChangeKind {
    TableAdded,
    TableRemoved,
    /// A part of its statement other than a column: a constraint, STRICT, WITHOUT ROWID.
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

/// The effect of a change, and why.
#[derive(Clone, Copy)]
enum Impact {
    Harmless,
    Breaking(&'static str),
    Destructive(&'static str),
}

use Impact::{Breaking, Destructive, Harmless};

impl SchemaDiff {
    /// Compares two schemas.
    pub fn between(before: &Schema, after: &Schema) -> Self {
        let mut diff = Self::default();
        diff.compare_tables(before, after);
        diff.compare_objects(
            &before.indexes,
            &after.indexes,
            |index| normalized(&index.sql),
            |old, new| {
                use ChangeKind::{IndexAdded, IndexChanged, IndexRemoved};
                let unique = "rows that were allowed are now refused";
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
        diff.compare_objects(
            &before.triggers,
            &after.triggers,
            |trigger| normalized(&trigger.sql),
            |old, new| {
                use ChangeKind::{TriggerAdded, TriggerChanged, TriggerRemoved};
                let known = |table: &str| before.tables.contains_key(table) || before.views.contains_key(table);
                match (old, new) {
                    (Some(_), None) => (TriggerRemoved, Breaking("its action on every write is not done any more")),
                    (None, Some(new)) if known(&new.table) => {
                        (TriggerAdded, Breaking("it may refuse or change writes"))
                    }
                    (None, _) => (TriggerAdded, Harmless),
                    (Some(_), Some(_)) => (TriggerChanged, Breaking("writes now have another effect")),
                }
            },
        );
        diff.compare_objects(
            &before.views,
            &after.views,
            |view| normalized(&view.sql),
            |old, new| {
                use ChangeKind::{ViewAdded, ViewChanged, ViewRemoved};
                match (old, new) {
                    (Some(_), None) => (ViewRemoved, Breaking("queries of it fail")),
                    (None, _) => (ViewAdded, Harmless),
                    (Some(_), Some(_)) => (ViewChanged, Breaking("queries of it may fail or return other rows")),
                }
            },
        );
        diff
    }

    fn add(&mut self, change: ChangeKind, name: &str, column: Option<&str>, impact: Impact) {
        let (destructive, breaking, why) = match impact {
            Harmless => (false, false, ""),
            Breaking(why) => (false, true, why),
            Destructive(why) => (true, true, why),
        };
        self.destructive |= destructive;
        self.breaking |= breaking;
        let (name, column, why) = (name.into(), column.map(Into::into), why.into());
        self.changes.push(SchemaChange { change, name, column, destructive, breaking, why });
    }

    fn compare_objects<T>(
        &mut self,
        before: &BTreeMap<String, T>,
        after: &BTreeMap<String, T>,
        key: impl Fn(&T) -> String,
        judge: impl Fn(Option<&T>, Option<&T>) -> (ChangeKind, Impact),
    ) {
        for (name, old) in before {
            let new = after.get(name);
            if new.is_none_or(|new| key(new) != key(old)) {
                let (change, impact) = judge(Some(old), new);
                self.add(change, name, None, impact);
            }
        }
        for (name, new) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
            let (change, impact) = judge(None, Some(new));
            self.add(change, name, None, impact);
        }
    }

    fn compare_tables(&mut self, before: &Schema, after: &Schema) {
        for (name, old) in &before.tables {
            match after.tables.get(name) {
                None => self.add(ChangeKind::TableRemoved, name, None, Destructive("its rows are lost")),
                Some(new) if normalized(&new.sql) == normalized(&old.sql) && new.columns == old.columns => {}
                Some(new) => self.compare_columns(name, old, new),
            }
        }
        for name in after.tables.keys().filter(|name| !before.tables.contains_key(*name)) {
            self.add(ChangeKind::TableAdded, name, None, Harmless);
        }
    }

    fn compare_columns(&mut self, table: &str, old: &Table, new: &Table) {
        let count = self.changes.len();
        let find = |table: &Table, name: &str| table.columns.iter().find(|column| column.name == name).cloned();
        for column in &old.columns {
            let name = Some(column.name.as_str());
            match find(new, &column.name) {
                None if column.generated => {
                    self.add(ChangeKind::ColumnRemoved, table, name, Breaking("queries that name it fail"));
                }
                None => self.add(ChangeKind::ColumnRemoved, table, name, Destructive("its values are lost")),
                Some(after) if after == *column => {}
                Some(after) => self.add(ChangeKind::ColumnChanged, table, name, column_impact(column, &after)),
            }
        }
        for column in new.columns.iter().filter(|column| find(old, &column.name).is_none()) {
            let needs_value = column.not_null && column.default.is_none() && !column.generated;
            let impact =
                if needs_value { Breaking("NOT NULL without a default: inserts that omit it fail") } else { Harmless };
            self.add(ChangeKind::ColumnAdded, table, Some(&column.name), impact);
        }
        if self.changes.len() == count || constraints(&new.sql) > constraints(&old.sql) {
            let why = "a constraint or option of the table changed: writes that were allowed may be refused";
            self.add(ChangeKind::TableChanged, table, None, Breaking(why));
        }
    }
}

fn column_impact(old: &Column, new: &Column) -> Impact {
    if affinity(&old.kind) != affinity(&new.kind) {
        Destructive("its type changed: values may be converted, or not fit")
    } else if old.primary_key != new.primary_key {
        Breaking("the primary key changed: writes that were allowed may be refused")
    } else if new.not_null && !old.not_null {
        Breaking("now NOT NULL: writes that omit it fail")
    } else if old.generated != new.generated {
        Destructive("it is now computed, or no longer computed")
    } else if old.default.is_some() && new.default.is_none() && new.not_null {
        Breaking("without its default, inserts that omit it fail")
    } else {
        Harmless
    }
}

/// Returns the affinity of a declared type (SQLite's datatypes, section 3.1).
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

/// Counts the keywords of a table's statement that forbid rows.
fn constraints(sql: &str) -> usize {
    let sql = sql.to_ascii_uppercase();
    ["CHECK", "UNIQUE", "STRICT", "WITHOUT"].iter().map(|word| sql.matches(word).count()).sum()
}

/// Removes what has no meaning from a statement: blanks, and the quotes that ALTER TABLE RENAME puts around names.
fn normalized(sql: &str) -> String {
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
