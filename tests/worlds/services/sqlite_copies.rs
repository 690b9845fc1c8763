//! Backup, restore, seed, schema and dry run, with real databases, real writers and the sqlite3 program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deployer::effect::ErrorKind;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::Fixture;
use crate::support::s3_server::{BUCKET, Fault, S3Server};
use crate::support::until;

pub(super) fn notes(path: &Path, rows: usize) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT); BEGIN").unwrap();
    for row in 0..rows {
        connection.execute("INSERT INTO notes(text) VALUES (?)", [format!("{row} {}", "x".repeat(200))]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    connection
}

/// The output of the sqlite3 program.
fn sqlite3(path: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(path).arg(sql).output().expect("the package sqlite3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An app that commits about 200 rows a second on its own thread and counts the acknowledged rows.
struct Writer {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        const PAUSE: Duration = Duration::from_millis(5);
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                connection.execute("INSERT INTO notes(text) VALUES ('live')", []).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::park_timeout(PAUSE);
            }
        });
        Self { acknowledged, stop, thread: Some(thread) }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().expect("the writer must have no error");
    }
}

/// Rows before the writer starts.
const INITIAL_ROWS: usize = 40_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_row_is_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    drop(notes(&path, INITIAL_ROWS));
    let fixture = Fixture::new();
    fixture.engine.volume("data", folder.path());
    let server = S3Server::start();
    let writer = Writer::start(&path);
    let backups = tempfile::tempdir().unwrap();
    for (number, to) in
        [format!("file://{}/", backups.path().display()), format!("s3://{BUCKET}/app.db"), format!("s3://{BUCKET}/x/")]
            .iter()
            .enumerate()
    {
        until("rows", || (writer.acknowledged() > 50 * (number as u64 + 1)).then_some(()));
        let before = writer.acknowledged();
        let args = json!({"path": "app.db", "volume": "data", "to": to, "s3": server.access()});
        let made = fixture.ask("sqlite_backup", args).await.unwrap();
        let after = writer.acknowledged();
        let rows = made["tables"]["notes"].as_u64().unwrap();
        let live = rows - INITIAL_ROWS as u64;
        assert!(before <= live && live <= after + 1, "{before} <= {live} <= {after}");
        let copy = folder.path().join(format!("copy-{number}.db"));
        let fetch = json!({"url": made["url"], "path": copy, "s3": server.access()});
        let fetched = fixture.ask("object_get", fetch).await.unwrap();
        assert_eq!((&fetched["sha256"], &fetched["size"]), (&made["sha256"], &made["size"]));
        assert_eq!(sqlite3(&copy, "PRAGMA quick_check; SELECT count(*) FROM notes"), format!("ok\n{rows}"));
    }
    writer.stop();
    let files = names(backups.path());
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].starts_with("app-20") && files[0].ends_with("-1.db"), "{files:?}");
    assert!(server.asked(&format!("PUT /{BUCKET}/app.db?partNumber")) > 1, "uploaded in parts");
}

#[tokio::test]
async fn a_repeated_backup_has_the_same_name_and_replaces_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    notes(&path, 3);
    let to = folder.path().join("copies");
    std::fs::create_dir(&to).unwrap();
    let fixture = Fixture::new();
    let first = fixture.ask("sqlite_backup", json!({"path": path, "to": to})).await.unwrap();
    let again = fixture.ask("sqlite_backup", json!({"path": path, "to": to})).await.unwrap();
    assert_eq!(first["url"], again["url"], "after a crash, the same effect writes the same copy");
    assert_eq!(names(&to).len(), 1);
    let single = to.join("mine.db");
    fixture.ask("sqlite_backup", json!({"path": path, "to": single})).await.unwrap();
    let taken = fixture.refused("sqlite_backup", json!({"path": path, "to": single})).await;
    assert_eq!(taken.kind, ErrorKind::NameTaken);
    fixture.ask("sqlite_backup", json!({"path": path, "to": single, "overwrite": true})).await.unwrap();
    let missing_folder = folder.path().join("no/such/copy.db");
    assert_eq!(
        fixture.refused("sqlite_backup", json!({"path": path, "to": missing_folder})).await.kind,
        ErrorKind::NotFound
    );
    let missing = json!({"path": folder.path().join("no.db"), "to": to.join("x.db")});
    assert_eq!(fixture.refused("sqlite_backup", missing).await.kind, ErrorKind::NotFound);
    assert_eq!(names(&to).len(), 2, "{:?}", names(&to));
}

#[tokio::test]
async fn a_backup_into_a_volume_cannot_leave_it() {
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("app.db");
    notes(&path, 3);
    std::fs::create_dir(kept.path().join("daily")).unwrap();
    let fixture = Fixture::new();
    fixture.engine.volume("kept", kept.path());
    let back_up = |to: &str| json!({"path": path, "to": to, "to_volume": "kept"});
    fixture.ask("sqlite_backup", back_up("app.db")).await.unwrap();
    fixture.ask("sqlite_backup", back_up("/daily/")).await.unwrap();
    assert_eq!(sqlite3(&kept.path().join("app.db"), "SELECT count(*) FROM notes"), "3");
    assert_eq!(names(&kept.path().join("daily")).len(), 1);
    for outside in ["../app.db", "s3://bucket/app.db"] {
        assert_eq!(fixture.refused("sqlite_backup", back_up(outside)).await.kind, ErrorKind::Invalid);
    }
    let missing_folder = json!({"path": path, "to": "app.db", "to_volume": "none"});
    assert_eq!(fixture.refused("sqlite_backup", missing_folder).await.kind, ErrorKind::NotFound);
}

fn count(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_restore_keeps_the_replaced_database_and_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("app.db"), folder.path().join("copy.db"));
    notes(&path, 5);
    let fixture = Fixture::new();
    fixture.ask("sqlite_backup", json!({"path": path, "to": copy})).await.unwrap();
    let app = Connection::open(&path).unwrap();
    app.execute_batch("PRAGMA wal_autocheckpoint = 0; INSERT INTO notes(text) VALUES ('late')").unwrap();
    // As after a crash of the app: the last row is only in the log.
    let live = folder.path().join("live");
    std::fs::create_dir(&live).unwrap();
    let live = live.join("app.db");
    for suffix in ["", "-wal"] {
        std::fs::copy(format!("{}{suffix}", path.display()), format!("{}{suffix}", live.display())).unwrap();
    }
    let prior = fixture.ask("sqlite_writers", json!({"path": live})).await.unwrap();
    assert_eq!(prior["in_use"], false);
    let restored = fixture.ask("sqlite_restore", json!({"path": live, "from": copy})).await.unwrap();
    assert_eq!((count(&live), &restored["tables"]["notes"]), (5, &json!(5)));
    let kept = PathBuf::from(restored["kept"].as_str().unwrap());
    assert_eq!(count(&kept), 6, "with the row from its log");
    for time in ["first", "second"] {
        fixture.ask("sqlite_restore", json!({"path": live, "put_back": prior["id"]})).await.unwrap();
        assert_eq!(count(&live), 6, "{time}");
    }
    let undone = names(live.parent().unwrap()).into_iter().find(|name| name.contains(".undone-")).unwrap();
    assert_eq!(count(&live.with_file_name(undone)), 5, "the restored copy is kept too");
    // A restore where no database existed.
    let new = folder.path().join("new.db");
    fixture.ask("sqlite_restore", json!({"path": new, "from": copy})).await.unwrap();
    for _ in 0..2 {
        fixture.ask("sqlite_restore", json!({"path": new, "put_back": ""})).await.unwrap();
        assert!(!new.exists());
    }
    let open = fixture.refused("sqlite_restore", json!({"path": new, "from": path})).await;
    assert_eq!(open.kind, ErrorKind::Conflict, "a copy of the file would miss the rows in its log: {open}");
}

#[tokio::test]
async fn a_database_in_use_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("app.db"), folder.path().join("copy.db"));
    drop(notes(&path, 5));
    let fixture = Fixture::new();
    fixture.engine.volume("data", folder.path());
    let args = json!({"path": "app.db", "volume": "data"});
    fixture.ask("sqlite_backup", json!({"path": path, "to": copy})).await.unwrap();
    let restore = json!({"path": "app.db", "volume": "data", "from": copy});
    // Another process, because the locks of this process do not count.
    let mut app = Command::new("sqlite3").arg(&path).stdin(std::process::Stdio::piped()).spawn().expect("sqlite3");
    use std::io::Write;
    app.stdin.as_mut().unwrap().write_all(b"BEGIN IMMEDIATE; SELECT 1;\n").unwrap();
    let users = async || fixture.ask("sqlite_writers", args.clone()).await.unwrap();
    let mut seen = users().await;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while seen["in_use"] == false && std::time::Instant::now() < end {
        seen = users().await;
    }
    assert_eq!(seen["processes"][0]["pid"], app.id());
    let error = fixture.refused("sqlite_restore", restore.clone()).await;
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains("sqlite3"), "{error}");
    app.kill().unwrap();
    app.wait().unwrap();

    fixture.engine.add_container("web", None);
    let mounts = |mount: &str| fixture.engine.change("web", |web| web.mounts = vec![mount.into()]);
    mounts("data:/app/data");
    let error = fixture.refused("sqlite_restore", restore.clone()).await;
    assert!(error.kind == ErrorKind::Conflict && error.message.contains("container `web`"), "{error}");
    // The same file, by its path in the container.
    let seen = fixture.ask("sqlite_check", json!({"path": "/app/data/app.db", "container": "web"})).await.unwrap();
    assert_eq!(seen["tables"]["notes"], 5);
    let error = fixture.refused("sqlite_check", json!({"path": "/other/app.db", "container": "web"})).await;
    assert_eq!(error.kind, ErrorKind::Unsupported);
    mounts("data:/app/data:ro");
    let seen = users().await;
    assert_eq!((&seen["in_use"], &seen["containers"][0]["read_only"]), (&json!(false), &json!(true)));
    mounts("data:/app/data");
    fixture.engine.exit("web", 0);
    fixture.ask("sqlite_restore", restore).await.unwrap();
}

#[tokio::test]
async fn only_an_empty_database_is_seeded() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source.db");
    notes(&source, 4).execute_batch("PRAGMA journal_mode = delete").unwrap();
    let dump = folder.path().join("dump.sql");
    std::fs::write(&dump, sqlite3(&source, ".dump")).unwrap();
    let fixture = Fixture::new();
    let path = folder.path().join("app.db");
    let seed = json!({"path": path, "file": dump});
    let failing = json!({"path": path, "sql": "CREATE TABLE notes(a); INSERT INTO notes VALUES (1); INSERT INTO nowhere VALUES (1)"});
    assert_eq!(fixture.refused("sqlite_seed", failing.clone()).await.kind, ErrorKind::Failed);
    assert!(!path.exists(), "a new database exists only after a complete seed");
    let seeded = fixture.ask("sqlite_seed", seed.clone()).await.unwrap();
    assert_eq!((&seeded["seeded"], &seeded["tables"]["notes"]), (&json!(true), &json!(4)));
    let again = fixture.ask("sqlite_seed", seed).await.unwrap();
    assert_eq!((&again["seeded"], &again["tables"]["notes"]), (&json!(false), &json!(4)));

    let empty = folder.path().join("empty.db");
    Connection::open(&empty).unwrap().execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY)").unwrap();
    let into = |sql: &str| json!({"path": empty, "sql": sql});
    for sql in [
        "INSERT INTO notes VALUES (1); INSERT INTO notes VALUES (1)",
        "INSERT INTO notes VALUES (1); ROLLBACK",
        "INSERT INTO notes VALUES (1); ATTACH '/tmp/other.db' AS other",
        "CREATE TABLE orders(note REFERENCES notes(id)); INSERT INTO orders VALUES (9)",
        "SELEC 1",
    ] {
        let error = fixture.refused("sqlite_seed", into(sql)).await;
        assert!(matches!(error.kind, ErrorKind::Failed | ErrorKind::Invalid), "{sql}: {error:?}");
        assert_eq!(count(&empty), 0, "{sql}: must be atomic");
    }
    let locked = Connection::open(&empty).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = fixture.refused("sqlite_seed", into("INSERT INTO notes VALUES (1)")).await;
    assert_eq!(error.kind, ErrorKind::Unavailable);
    locked.execute_batch("COMMIT").unwrap();
    fixture.ask("sqlite_seed", into("INSERT INTO notes VALUES (1)")).await.unwrap();
    assert_eq!(count(&empty), 1);
}

#[tokio::test]
async fn schemas_are_read_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
    let make = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    make(
        &old,
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', gone TEXT); PRAGMA user_version = 7;
        CREATE UNIQUE INDEX names ON users(name); CREATE VIEW all_users AS SELECT * FROM users;
        CREATE VIRTUAL TABLE words USING fts5(a)",
    );
    make(
        &new,
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', email TEXT);
        CREATE TRIGGER logged AFTER INSERT ON users BEGIN SELECT 1; END",
    );
    let fixture = Fixture::new();
    let schema = fixture.ask("sqlite_schema", json!({"path": old})).await.unwrap();
    assert_eq!(schema["user_version"], 7);
    let name = json!({"name": "name", "type": "TEXT", "not_null": true, "default": "''", "primary_key": 0, "generated": false});
    assert_eq!(schema["tables"]["users"]["columns"][1], name);
    assert_eq!(schema["indexes"]["names"]["unique"], true);
    let diff = fixture.ask("sqlite_schema_diff", json!({"before": schema, "after": {"path": new}})).await.unwrap();
    assert_eq!((&diff["destructive"], &diff["breaking"]), (&json!(true), &json!(true)));
    let changes: Vec<&Value> =
        diff["changes"].as_array().unwrap().iter().filter(|change| change["name"] == "users").collect();
    assert_eq!(changes[0]["column"], "gone");
    let same = fixture.ask("sqlite_schema_diff", json!({"before": old, "after": old})).await.unwrap();
    assert_eq!(same, json!({"changes": [], "destructive": false, "breaking": false}));
}

#[tokio::test]
async fn a_migration_dry_run_uses_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    notes(&path, 10);
    let before = std::fs::read(&path).unwrap();
    let fixture = Fixture::new();
    let dry_run = async |sql: &str| fixture.ask("sqlite_migrate_dry_run", json!({"path": path, "sql": sql})).await;
    let added = dry_run("ALTER TABLE notes ADD COLUMN tag TEXT; INSERT INTO notes(text) VALUES ('new')").await.unwrap();
    assert_eq!(
        (&added["destructive"], &added["rows"]),
        (&json!(false), &json!({"notes": {"before": 10, "after": 11}}))
    );
    assert_eq!(added["diff"]["changes"][0]["change"], "column_added");
    let lost = dry_run("DELETE FROM notes WHERE id > 5").await.unwrap();
    assert_eq!((&lost["destructive"], &lost["rows"]["notes"]["after"]), (&json!(true), &json!(5)));
    assert_eq!(dry_run("ALTER TABLE nowhere ADD COLUMN a").await.unwrap_err().kind, ErrorKind::Failed);
    assert_eq!(dry_run("BEGIN; DELETE FROM notes").await.unwrap_err().kind, ErrorKind::Failed);
    let image = json!({"path": path, "image": "web:v2", "command": ["migrate"], "target": "/data"});
    assert_eq!(fixture.refused("sqlite_migrate_dry_run", image).await.kind, ErrorKind::Unsupported);
    assert_eq!(std::fs::read(&path).unwrap(), before, "the database itself is unchanged");
}

#[tokio::test]
async fn failing_storage_is_retried_and_damage_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    notes(&path, 3);
    let fixture = Fixture::new();
    let server = S3Server::start();
    let args = json!({"path": path, "to": format!("s3://{BUCKET}/app.db"), "s3": server.access()});
    server.fail("PUT", [Fault::Error, Fault::Cut, Fault::Error]);
    fixture.ask("sqlite_backup", args).await.unwrap();
    let restored = folder.path().join("restored.db");
    let args = json!({"path": restored, "from": format!("s3://{BUCKET}/app.db"), "s3": server.access()});
    server.fail("GET", [Fault::Error]);
    fixture.ask("sqlite_restore", args.clone()).await.unwrap();
    assert_eq!(sqlite3(&restored, "SELECT count(*) FROM notes"), "3");
    server.damage("app.db");
    assert_eq!(fixture.refused("sqlite_restore", args).await.kind, ErrorKind::Unavailable, "the checksum differs");
}
