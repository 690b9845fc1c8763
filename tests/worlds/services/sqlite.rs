use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deployer::effect::ErrorKind;
use rusqlite::Connection;
use serde_json::json;

use super::Fixture;

/// A closed database with `rows` rows in `t` and an index.
fn database(folder: &Path, name: &str, mode: &str, rows: usize) -> PathBuf {
    let path = folder.join(name);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "journal_mode", mode).unwrap();
    connection
        .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text); BEGIN")
        .unwrap();
    for row in 0..rows {
        connection.execute("INSERT INTO t(text) VALUES (?)", [format!("row {row} {}", "x".repeat(100))]).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
    path
}

fn files(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_valid_database_reports_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["delete", "wal"] {
        let path = database(folder.path(), &format!("a #?{mode}.db"), mode, 50);
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE VIRTUAL TABLE words USING fts5(a); CREATE TABLE \"odd \"\"name\"(a)")
            .unwrap();
        let before = files(folder.path());
        let fixture = Fixture::new();
        for full in [false, true] {
            let checked = fixture.ask("sqlite_check", json!({"path": path, "full": full})).await.unwrap();
            assert_eq!((&checked["exists"], &checked["empty"]), (&json!(true), &json!(false)));
            assert_eq!((&checked["tables"]["t"], &checked["tables"]["odd \"name"]), (&json!(50), &json!(0)));
            assert!(checked["tables"].get("words").is_none());
            assert_eq!(checked["size"].as_u64().unwrap(), std::fs::metadata(&path).unwrap().len());
        }
        assert_eq!(files(folder.path()), before, "{mode}: no file is left behind");
    }
}

#[tokio::test]
async fn a_missing_database_is_valid_only_with_missing_ok() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    fixture.engine.volume("data", folder.path());
    for location in [
        json!({"path": folder.path().join("no.db")}),
        json!({"path": "no.db", "volume": "data"}),
        json!({"path": "no.db", "volume": "nope"}),
    ] {
        let mut args = location.clone();
        assert_eq!(fixture.refused("sqlite_check", args.clone()).await.kind, ErrorKind::NotFound);
        args["missing_ok"] = json!(true);
        let checked = fixture.ask("sqlite_check", args).await.unwrap();
        assert_eq!((&checked["exists"], &checked["empty"]), (&json!(false), &json!(true)));
    }
    assert!(files(folder.path()).is_empty(), "no file is created");
    std::fs::write(folder.path().join("zero.db"), "").unwrap();
    let zero = fixture.ask("sqlite_check", json!({"path": "zero.db", "volume": "data"})).await.unwrap();
    assert_eq!((&zero["exists"], &zero["empty"]), (&json!(true), &json!(true)));
    let empty = database(folder.path(), "empty.db", "delete", 0);
    assert_eq!(fixture.ask("sqlite_check", json!({"path": empty})).await.unwrap()["empty"], true);
    assert_eq!(fixture.refused("sqlite_check", json!({"path": folder.path()})).await.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn damage_is_found_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::new();
    let path = database(folder.path(), "page.db", "delete", 2000);
    let whole = std::fs::read(&path).unwrap();
    let check = async |bytes: &[u8], full: bool| {
        std::fs::write(&path, bytes).unwrap();
        let error = fixture.refused("sqlite_check", json!({"path": path, "full": full})).await;
        assert_eq!(error.kind, ErrorKind::DatabaseCorrupt, "{error}");
        error
    };
    let mut damaged = whole.clone();
    damaged[10 * 4096..10 * 4096 + 2000].fill(0xAB);
    let error = check(&damaged, true).await;
    assert!(error.detail.unwrap().lines().count() <= 20);
    check(&whole[..whole.len() / 2], false).await;
    check(&whole[..500], false).await;
    check(b"this is no database at all, it is a text of some length", false).await;
    let mut without_header = whole.clone();
    without_header[..100].fill(0);
    check(&without_header, false).await;
    std::fs::write(&path, &whole).unwrap();
    fixture.ask("sqlite_check", json!({"path": path})).await.unwrap();
}

#[tokio::test]
async fn broken_foreign_keys_are_found_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "PRAGMA foreign_keys = OFF; CREATE TABLE users(id INTEGER PRIMARY KEY);
             CREATE TABLE orders(id INTEGER PRIMARY KEY, user REFERENCES users(id)); INSERT INTO orders VALUES (5, 9)",
        )
        .unwrap();
    let fixture = Fixture::new();
    fixture.ask("sqlite_check", json!({"path": path})).await.unwrap();
    let error = fixture.refused("sqlite_check", json!({"path": path, "foreign_keys": true})).await;
    assert_eq!(error.kind, ErrorKind::DatabaseCorrupt);
    assert_eq!(error.detail.as_deref(), Some("row 5 of `orders` points to no row of `users`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_do_not_disturb_a_live_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "live.db", "wal", 10);
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    writer.execute("INSERT INTO t(text) VALUES ('only in the wal')", []).unwrap();
    let fixture = Fixture::new();
    let checked = fixture.ask("sqlite_check", json!({"path": path})).await.unwrap();
    assert_eq!((&checked["tables"]["t"], &checked["journal_mode"]), (&json!(11), &json!("wal")));

    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&path, link.path().join("link.db")).unwrap();
    let linked = fixture.ask("sqlite_check", json!({"path": link.path().join("link.db")})).await.unwrap();
    assert_eq!(linked["tables"]["t"], 11);

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let app = std::thread::spawn(move || {
        let mut written = 0;
        while !stopped.load(Ordering::SeqCst) {
            writer.execute("INSERT INTO t(text) VALUES ('live')", []).unwrap();
            written += 1;
        }
        written
    });
    for _ in 0..5 {
        fixture.ask("sqlite_check", json!({"path": path, "full": true})).await.unwrap();
        fixture.ask("sqlite_query", json!({"path": path, "sql": "SELECT count(*) AS n FROM t"})).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    assert!(app.join().unwrap() > 0);
}

#[tokio::test]
async fn rows_in_the_wal_after_a_crash_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "app.db", "wal", 10);
    let app = Connection::open(&path).unwrap();
    app.execute("INSERT INTO t(text) VALUES ('late')", []).unwrap();
    let crashed = folder.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for suffix in ["", "-wal"] {
        std::fs::copy(folder.path().join(format!("app.db{suffix}")), crashed.join(format!("app.db{suffix}"))).unwrap();
    }
    let checked = Fixture::new().ask("sqlite_check", json!({"path": crashed.join("app.db")})).await.unwrap();
    assert_eq!(checked["tables"]["t"], 11);
}

#[tokio::test]
async fn a_hot_journal_is_left_for_the_app_to_roll_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "hot.db", "delete", 2000);
    let app = Connection::open(&path).unwrap();
    app.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE t SET text = 'half done'").unwrap();
    let crashed = folder.path().join("crashed");
    std::fs::create_dir(&crashed).unwrap();
    for suffix in ["", "-journal"] {
        std::fs::copy(folder.path().join(format!("hot.db{suffix}")), crashed.join(format!("hot.db{suffix}"))).unwrap();
    }
    let before = files(&crashed);
    let error = Fixture::new().refused("sqlite_check", json!({"path": crashed.join("hot.db")})).await;
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert!(error.hint.unwrap().contains("recover"));
    assert_eq!(files(&crashed), before);
}

#[tokio::test]
async fn the_wait_for_a_locked_database_is_limited() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "locked.db", "delete", 1);
    let app = Connection::open(&path).unwrap();
    app.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let fixture = Fixture::new();
    let error = fixture.refused("sqlite_check", json!({"path": path, "timeout": "200ms"})).await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    let error = fixture.refused("sqlite_check", json!({"path": path})).await;
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn queries_bind_values_and_return_maps() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "q.db", "wal", 3);
    let fixture = Fixture::new();
    let rows = fixture
        .ask(
            "sqlite_query",
            json!({
                "path": path,
                "sql": "SELECT id, ?1 AS text, ?2 AS real, ?3 AS gap, ?4 AS truth, x'00ff' AS blob FROM t WHERE id < 3",
                "params": ["it's", 1.5, null, true],
            }),
        )
        .await
        .unwrap();
    let row = |id: u64| json!({"id": id, "text": "it's", "real": 1.5, "gap": null, "truth": 1, "blob": "AP8="});
    assert_eq!(rows, json!([row(1), row(2)]));
}

#[tokio::test]
async fn queries_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "q.db", "delete", 3);
    let before = std::fs::read(&path).unwrap();
    let fixture = Fixture::new();
    let copy = folder.path().join("copy.db");
    let attach = format!("ATTACH '{}' AS other", copy.display());
    let vacuum = format!("VACUUM INTO '{}'", copy.display());
    for sql in [
        "DELETE FROM t",
        "INSERT INTO t(text) VALUES ('x') RETURNING id",
        "CREATE TABLE u(a)",
        "SELECT 1; DELETE FROM t",
        "SELEC 1",
        "SELECT * FROM nope",
        "",
        &attach,
        &vacuum,
        "BEGIN IMMEDIATE",
    ] {
        let error = fixture.refused("sqlite_query", json!({"path": path, "sql": sql})).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{sql}: {error}");
    }
    for params in [json!([]), json!([1, 2]), json!([[1]]), json!([{"a": 1}])] {
        let args = json!({"path": path, "sql": "SELECT ?", "params": params});
        assert_eq!(fixture.refused("sqlite_query", args).await.kind, ErrorKind::Invalid, "{params}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!copy.exists());
    let missing =
        fixture.refused("sqlite_query", json!({"path": folder.path().join("no.db"), "sql": "SELECT 1"})).await;
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

#[tokio::test]
async fn a_query_is_limited_in_rows_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "q.db", "delete", 1);
    let fixture = Fixture::new();
    let sql = format!("{ENDLESS} SELECT i FROM n");
    let too_many = fixture.refused("sqlite_query", json!({"path": path, "sql": sql})).await;
    assert_eq!(too_many.kind, ErrorKind::Invalid);
    let too_large = fixture.refused("sqlite_query", json!({"path": path, "sql": "SELECT zeroblob(20000000)"})).await;
    assert_eq!(too_large.kind, ErrorKind::Invalid);
    let sql = format!("{ENDLESS} SELECT count(*) FROM n");
    let started = Instant::now();
    let endless = fixture.refused("sqlite_query", json!({"path": path, "sql": sql, "timeout": "100ms"})).await;
    assert_eq!(endless.kind, ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_an_app_puts_in_place_of_its_database_is_never_followed() {
    let (volume, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = database(volume.path(), "own.db", "delete", 1);
    let secret = database(host.path(), "secret.db", "delete", 7);
    let path = volume.path().join("app.db");
    std::fs::copy(&own, &path).unwrap();
    let fixture = Fixture::new();
    fixture.engine.volume("data", volume.path());
    let stop = Arc::new(AtomicBool::new(false));
    let app = {
        let (stop, folder) = (Arc::clone(&stop), volume.path().to_owned());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::os::unix::fs::symlink(&secret, folder.join("link")).unwrap();
                std::fs::rename(folder.join("link"), folder.join("app.db")).unwrap();
                std::fs::copy(&own, folder.join("file")).unwrap();
                std::fs::rename(folder.join("file"), folder.join("app.db")).unwrap();
            }
        })
    };
    let (mut read, mut refused) = (0, 0);
    let sql = json!({"path": "app.db", "volume": "data", "sql": "SELECT count(*) AS n FROM t"});
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) && (read < 200 || refused < 20) {
        match fixture.ask("sqlite_query", sql.clone()).await {
            Ok(rows) => {
                assert_eq!(rows, json!([{"n": 1}]), "after {read} reads");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    stop.store(true, Ordering::Relaxed);
    app.join().unwrap();
    assert!(read > 0 && refused > 0, "{read} reads, {refused} refusals");
}
