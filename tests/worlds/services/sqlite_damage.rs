//! Databases with every kind of damage: each is reported with a clear error and is not copied.

use std::path::{Path, PathBuf};

use deployer::effect::ErrorKind;
use serde_json::json;

use super::Fixture;
use super::sqlite_copies::{names, notes};

/// Damaged files: the kind of damage, the path, and the expected kind of error.
fn damaged(folder: &Path) -> Vec<(&'static str, PathBuf, ErrorKind)> {
    let whole = folder.join("whole.db");
    let connection = notes(&whole, 3000);
    connection.execute_batch("PRAGMA journal_mode = delete; CREATE INDEX texts ON notes(text)").unwrap();
    let root: i64 =
        connection.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'texts'", [], |row| row.get(0)).unwrap();
    drop(connection);
    let bytes = std::fs::read(&whole).unwrap();
    let mut made = Vec::new();
    let mut write = |name: &'static str, bytes: &[u8], kind| {
        let path = folder.join(format!("{}.db", name.replace(' ', "-")));
        std::fs::write(&path, bytes).unwrap();
        made.push((name, path, kind));
    };
    let changed = |from: usize, to: usize, by: u8| {
        let mut bytes = bytes.clone();
        bytes[from..to].fill(by);
        bytes
    };
    write("header", &changed(0, 100, 0), ErrorKind::DatabaseCorrupt);
    write("page", &changed(8 * 4096, 9 * 4096, 0xAB), ErrorKind::DatabaseCorrupt);
    let index = usize::try_from(root - 1).unwrap() * 4096;
    write("index", &changed(index, index + 4096, 0xCD), ErrorKind::DatabaseCorrupt);
    write("truncated", &bytes[..bytes.len() / 2], ErrorKind::DatabaseCorrupt);
    write("cut in the first page", &bytes[..600], ErrorKind::DatabaseCorrupt);
    let encrypted: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ ((at * 31 % 251) as u8) ^ 0x5A).collect();
    write("encrypted", &encrypted, ErrorKind::DatabaseCorrupt);
    write("not SQLite", b"<html>this is a page and no database at all</html>", ErrorKind::DatabaseCorrupt);
    let wal_only = folder.join("lonely.db");
    std::fs::write(folder.join("lonely.db-wal"), [1; 100]).unwrap();
    made.push(("log without database", wal_only, ErrorKind::DatabaseCorrupt));
    made
}

#[tokio::test]
async fn damage_is_reported_and_leaves_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    for (name, path, kind) in damaged(folder.path()) {
        let to = copies.path().join("copy.db");
        let error = fixture.refused("sqlite_backup", json!({"path": path, "to": to, "full": true})).await;
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(names(copies.path()).is_empty(), "{name}: no copy may be left: {:?}", names(copies.path()));
        if path.exists() {
            let target = folder.path().join("target.db");
            let restored = fixture.refused("sqlite_restore", json!({"path": target, "from": path})).await;
            let is_index = name == "index";
            assert!(restored.kind == kind || is_index, "{name}: {restored}");
            assert!(!target.exists(), "{name}");
        }
        for kind in ["sqlite_schema", "sqlite_seed", "sqlite_migrate_dry_run"] {
            let args =
                json!({"path": path, "sql": "CREATE TABLE IF NOT EXISTS notes(a); INSERT INTO notes VALUES (1)"});
            let args = if kind == "sqlite_schema" { json!({"path": path}) } else { args };
            if let Err(error) = fixture.ask(kind, args).await {
                assert!(!error.message.contains("panicked"), "{name}, {kind}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_hot_journal_is_reported_and_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot.db");
    let app = notes(&path, 2000);
    app.execute_batch("PRAGMA journal_mode = delete; PRAGMA cache_size = 1; BEGIN; UPDATE notes SET text = 'half'")
        .unwrap();
    let crashed = folder.path().join("crashed.db");
    for suffix in ["", "-journal"] {
        std::fs::copy(folder.path().join(format!("hot.db{suffix}")), folder.path().join(format!("crashed.db{suffix}")))
            .unwrap();
    }
    let error =
        Fixture::new().refused("sqlite_backup", json!({"path": crashed, "to": folder.path().join("copy.db")})).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert!(!folder.path().join("copy.db").exists());
}
