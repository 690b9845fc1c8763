//! What counts as destructive and as breaking.

use super::*;
use crate::effect::sqlite::{Index, Trigger, View};

fn column(name: &str, kind: &str) -> Column {
    Column { name: name.into(), kind: kind.into(), ..Column::default() }
}

fn schema(columns: &[Column]) -> Schema {
    let words: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.kind)).collect();
    let sql = format!("CREATE TABLE t({})", words.join(", "));
    let table = Table { columns: columns.to_vec(), sql };
    Schema { tables: BTreeMap::from([("t".to_owned(), table)]), ..Schema::default() }
}

/// Kind, destructive, breaking of every change.
fn judged(before: &Schema, after: &Schema) -> Vec<(ChangeKind, bool, bool)> {
    let diff = SchemaDiff::between(before, after);
    assert!(diff.changes.iter().all(|change| change.why.is_empty() != (change.destructive || change.breaking)));
    assert_eq!(diff.destructive, diff.changes.iter().any(|change| change.destructive));
    assert_eq!(diff.breaking, diff.changes.iter().any(|change| change.breaking));
    diff.changes.iter().map(|change| (change.change, change.destructive, change.breaking)).collect()
}

#[test]
fn equal_schemas_have_no_difference() {
    let one = schema(&[column("a", "TEXT")]);
    assert_eq!(judged(&one, &one), []);
    let mut spaced = one.clone();
    spaced.tables.get_mut("t").unwrap().sql = "CREATE TABLE \"t\"(\n  a TEXT\n)".into();
    assert_eq!(judged(&one, &spaced), [], "blanks and quotes change nothing");
}

#[test]
fn columns() {
    use ChangeKind::{ColumnAdded, ColumnChanged, ColumnRemoved};
    let a = column("a", "TEXT");
    let one = schema(std::slice::from_ref(&a));
    let with = |b: Column| schema(&[a.clone(), b]);
    let b = || column("b", "INTEGER");
    assert_eq!(judged(&one, &with(b())), [(ColumnAdded, false, false)]);
    assert_eq!(judged(&with(b()), &one), [(ColumnRemoved, true, true)]);
    let required = Column { not_null: true, ..b() };
    assert_eq!(judged(&one, &with(required.clone())), [(ColumnAdded, false, true)]);
    let filled = Column { default: Some("0".into()), ..required.clone() };
    assert_eq!(judged(&one, &with(filled)), [(ColumnAdded, false, false)]);
    assert_eq!(judged(&with(b()), &with(required)), [(ColumnChanged, false, true)]);
    assert_eq!(judged(&with(b()), &with(column("b", "BIGINT"))), [(ColumnChanged, false, false)], "one affinity");
    assert_eq!(judged(&with(b()), &with(column("b", "TEXT"))), [(ColumnChanged, true, true)]);
    let key = Column { primary_key: 1, ..b() };
    assert_eq!(judged(&with(b()), &with(key)), [(ColumnChanged, false, true)]);
}

#[test]
fn tables_and_their_constraints() {
    use ChangeKind::{ColumnAdded, TableAdded, TableChanged, TableRemoved};
    let one = schema(&[column("a", "TEXT")]);
    assert_eq!(judged(&Schema::default(), &one), [(TableAdded, false, false)]);
    assert_eq!(judged(&one, &Schema::default()), [(TableRemoved, true, true)]);
    let mut checked = one.clone();
    checked.tables.get_mut("t").unwrap().sql = "CREATE TABLE t(a TEXT CHECK (a <> ''))".into();
    assert_eq!(judged(&one, &checked), [(TableChanged, false, true)]);
    let mut both = schema(&[column("a", "TEXT"), column("b", "TEXT")]);
    both.tables.get_mut("t").unwrap().sql.push_str(" STRICT");
    assert_eq!(judged(&one, &both), [(ColumnAdded, false, false), (TableChanged, false, true)]);
}

#[test]
fn indexes_triggers_views() {
    use ChangeKind::{IndexAdded, IndexRemoved, TriggerAdded, TriggerRemoved, ViewAdded, ViewChanged, ViewRemoved};
    let one = schema(&[column("a", "TEXT")]);
    let index = |unique| {
        let index = Index { table: "t".into(), unique, sql: "CREATE INDEX i ON t(a)".into() };
        Schema { indexes: BTreeMap::from([("i".to_owned(), index)]), ..one.clone() }
    };
    assert_eq!(judged(&one, &index(false)), [(IndexAdded, false, false)]);
    assert_eq!(judged(&one, &index(true)), [(IndexAdded, false, true)]);
    assert_eq!(judged(&index(true), &one), [(IndexRemoved, false, false)]);
    let trigger = Trigger { table: "t".into(), sql: "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END".into() };
    let triggered = Schema { triggers: BTreeMap::from([("r".to_owned(), trigger)]), ..one.clone() };
    assert_eq!(judged(&one, &triggered), [(TriggerAdded, false, true)]);
    assert_eq!(judged(&triggered, &one), [(TriggerRemoved, false, true)]);
    let view =
        |sql: &str| Schema { views: BTreeMap::from([("v".to_owned(), View { sql: sql.into() })]), ..one.clone() };
    assert_eq!(judged(&one, &view("SELECT 1")), [(ViewAdded, false, false)]);
    assert_eq!(judged(&view("SELECT 1"), &one), [(ViewRemoved, false, true)]);
    assert_eq!(judged(&view("SELECT 1"), &view("SELECT 2")), [(ViewChanged, false, true)]);
}
