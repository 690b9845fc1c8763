//! Database effects on real Docker volumes: with a live app that writes 200 rows per second, with dry runs of its
//! migration in a container, with SIGKILL, and with full disks.

use crate::support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::{Effect, EffectError, ErrorKind};
use deployer::world::docker::DockerWorld;
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::real_world::RealWorld;
use deployer::world::{Call, World};
use rusqlite::Connection;
use serde_json::{Value, json};
use support::docker::Docker;
use support::small_disk::SmallDisk;
use support::until;

const BASE: &str = "python:3.11-slim";

/// Commits a row every 5 ms and prints its number once it is acknowledged.
const WRITER: &str = "
import sqlite3, time
db = sqlite3.connect('/data/app.db', timeout=5)
db.execute('pragma journal_mode=wal')
db.execute('create table if not exists notes(id integer primary key, text text)')
while True:
    with db:
        row = db.execute('insert into notes(text) values (?)', ('x' * 200,)).lastrowid
    print(row, flush=True)
    time.sleep(0.005)
";

const MIGRATION: &str = "
import os, sqlite3
db = sqlite3.connect('/data/app.db')
db.execute('alter table notes add column tag text')
db.execute('delete from notes where id = 1')
db.commit()
print('migrated as', os.getuid())
";

struct Bench {
    world: RealWorld,
    docker: Docker,
    branch: Branch,
    run: RunId,
}

impl Bench {
    async fn new() -> Self {
        let docker = Docker::new();
        let holder = ProcessIdentity::this_process().unwrap();
        let world = DockerWorld::connect(None, holder, Duration::from_secs(15)).await.expect("a docker engine answers");
        let engine = world.engine();
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes).unwrap();
        let world = RealWorld::new(Arc::new(world), engine, Arc::new(|_| None));
        Self { world, docker, branch: Branch::root(), run: RunId::from_bytes(bytes) }
    }

    async fn ask(&self, kind: &str, args: Value) -> Result<Value, EffectError> {
        let call = Call::silent(self.run.clone(), self.branch.next(), Arc::new(Vault::empty()));
        let effect = Effect::decode(kind, args).unwrap();
        self.world.perform(&call, &effect).await.map(|outcome| outcome.value())
    }

    /// Creates a volume that belongs to the user of the app.
    async fn volume(&self) -> String {
        let volume = self.docker.name("data");
        self.ask("volume_create", json!({"name": volume})).await.unwrap();
        let chown = format!("{volume}:/data");
        self.docker.cli(&["run", "--rm", "--volume", &chown, BASE, "chown", "1000:1000", "/data"]);
        volume
    }

    async fn start_writer(&self, volume: &str) -> String {
        let name = self.docker.name("writer");
        let spec = json!({
            "name": name, "image": BASE, "command": ["python3", "-c", WRITER], "user": "1000:1000",
            "volumes": [format!("{volume}:/data")],
        });
        self.ask("docker_run", spec).await.unwrap();
        name
    }

    /// Returns the last row that was acknowledged to the app.
    fn acknowledged(&self, writer: &str) -> u64 {
        let last = self.docker.cli(&["logs", "--tail", "1", writer]);
        last.trim().parse().unwrap_or(0)
    }
}

fn rows(path: &Path) -> u64 {
    let connection = Connection::open(path).unwrap();
    let check: String = connection.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM notes", [], |row| row.get::<_, i64>(0)).unwrap() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_app_is_backed_up_killed_and_restored() {
    let bench = Bench::new().await;
    let volume = bench.volume().await;
    let writer = bench.start_writer(&volume).await;
    let copies = tempfile::tempdir().unwrap();
    let in_volume = |more: Value| {
        let mut all = json!({"path": "app.db", "volume": volume});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let writers = async || bench.ask("sqlite_writers", in_volume(json!({}))).await.unwrap();
    for number in 0..3_u64 {
        until("rows", || (bench.acknowledged(&writer) > 100 * (number + 1)).then_some(()));
        let before = bench.acknowledged(&writer);
        let copy = copies.path().join(format!("{number}.db"));
        let from = json!({"path": "/data/app.db", "container": writer, "to": copy});
        bench.ask("sqlite_backup", from).await.unwrap();
        assert!(rows(&copy) >= before, "{} rows, {before} were acknowledged", rows(&copy));
    }
    let state = writers().await;
    assert_eq!((&state["in_use"], &state["containers"][0]["name"]), (&json!(true), &json!(writer)));
    assert_eq!(state["processes"][0]["container"], writer, "{state}");
    let restore = in_volume(json!({"from": copies.path().join("0.db")}));
    assert_eq!(bench.ask("sqlite_restore", restore.clone()).await.unwrap_err().kind, ErrorKind::Conflict);

    bench.ask("docker_kill", json!({"container": writer})).await.unwrap();
    bench.ask("docker_wait", json!({"container": writer, "timeout": "20s"})).await.unwrap();
    let acknowledged = bench.acknowledged(&writer);
    let prior = writers().await;
    assert_eq!(prior["in_use"], false);
    bench.ask("sqlite_restore", restore).await.unwrap();
    let count = async || {
        let sql = in_volume(json!({"sql": "SELECT count(*) AS n FROM notes"}));
        bench.ask("sqlite_query", sql).await.unwrap()[0]["n"].as_u64().unwrap()
    };
    assert_eq!(count().await, rows(&copies.path().join("0.db")));
    // The app continues with the restored copy, and can write to it.
    bench.ask("docker_start", json!({"container": writer})).await.unwrap();
    until("more rows", || {
        (bench.docker.cli(&["logs", &writer]).lines().count() as u64 > acknowledged + 20).then_some(())
    });
    bench.ask("docker_kill", json!({"container": writer})).await.unwrap();
    bench.ask("docker_wait", json!({"container": writer, "timeout": "20s"})).await.unwrap();
    bench.ask("sqlite_restore", in_volume(json!({"put_back": prior["id"]}))).await.unwrap();
    assert!(count().await >= acknowledged, "every row from before the restore is back");
    bench.ask("docker_remove", json!({"container": writer, "force": true})).await.unwrap();
    bench.ask("volume_remove", json!({"name": volume})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_own_migration_is_tried_on_a_copy() {
    let bench = Bench::new().await;
    let volume = bench.volume().await;
    let writer = bench.start_writer(&volume).await;
    until("rows", || (bench.acknowledged(&writer) > 20).then_some(()));
    let dry = |command: Value| {
        json!({
            "path": "/data/app.db", "container": writer, "image": BASE, "command": command, "user": "1000:1000",
            "environment": {"PYTHONUNBUFFERED": "1"},
        })
    };
    let done = bench.ask("sqlite_migrate_dry_run", dry(json!(["python3", "-c", MIGRATION]))).await.unwrap();
    assert_eq!(done["output"], json!(["migrated as 1000"]), "the copy belongs to the app's user");
    assert_eq!((&done["destructive"], &done["diff"]["changes"][0]["column"]), (&json!(true), &json!("tag")));
    let change = &done["rows"]["notes"];
    assert_eq!(change["before"].as_u64().unwrap(), change["after"].as_u64().unwrap() + 1);
    let failing = dry(json!(["python3", "-c", "print('no such column'); raise SystemExit(4)"]));
    let error = bench.ask("sqlite_migrate_dry_run", failing).await.unwrap_err();
    assert_eq!((error.kind, error.detail.as_deref()), (ErrorKind::Failed, Some("no such column")));
    // A migration that damages the copy is detected.
    let damage = "f = open('/data/app.db', 'r+b'); f.seek(4096); f.write(b'x' * 4096)";
    let error = bench.ask("sqlite_migrate_dry_run", dry(json!(["python3", "-c", damage]))).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DatabaseCorrupt, "{error:?}");
    // A dry run that is dropped in the middle cleans up.
    let slow = dry(json!(["sleep", "60"]));
    let _ = tokio::time::timeout(Duration::from_secs(3), bench.ask("sqlite_migrate_dry_run", slow)).await;
    let label = format!("label=deployer.run={}", bench.run);
    let left = || {
        let volumes = bench.docker.cli(&[
            "volume",
            "ls",
            "--quiet",
            "--filter",
            "label=deployer.role=dry-run",
            "--filter",
            &label,
        ]);
        let containers = bench.docker.cli(&[
            "ps",
            "--all",
            "--quiet",
            "--filter",
            "label=deployer.role=dry-run",
            "--filter",
            &label,
        ]);
        format!("{volumes}{containers}")
    };
    until("container and volume are removed", || left().is_empty().then_some(()));
    let columns = bench.ask("sqlite_schema", json!({"path": "app.db", "volume": volume})).await.unwrap();
    assert_eq!(columns["tables"]["notes"]["columns"].as_array().unwrap().len(), 2, "the database is unchanged");
    bench.ask("docker_remove", json!({"container": writer, "force": true})).await.unwrap();
    bench.ask("volume_remove", json!({"name": volume})).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_reported_and_nothing_is_left() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    for _ in 0..20 {
        connection.execute("INSERT INTO notes(text) VALUES (?)", ["x".repeat(100_000)]).unwrap();
    }
    drop(connection);
    let disk = SmallDisk::mount(folder.path());
    let on_disk = |name: &str| disk.0.join(name);
    let requests = [
        ("sqlite_backup", json!({"path": path, "to": on_disk("copy.db")})),
        ("sqlite_restore", json!({"path": on_disk("new.db"), "from": path})),
        ("object_put", json!({"path": path, "to": on_disk("put.db")})),
        ("object_get", json!({"url": path, "path": on_disk("got.db")})),
    ];
    for (kind, args) in requests {
        let error = bench.ask(kind, args).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::DiskFull, "{kind}: {error:?}");
        assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0, "{kind} leaves nothing");
    }
    let seed =
        json!({"path": on_disk("seed.db"), "sql": "CREATE TABLE t(a); INSERT INTO t VALUES (zeroblob(3000000))"});
    let error = bench.ask("sqlite_seed", seed).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DiskFull, "{error:?}");
    let left: Vec<_> = std::fs::read_dir(&disk.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(Command::new("sqlite3").arg(&path).arg("PRAGMA quick_check").output().unwrap().stdout, b"ok\n");
}
