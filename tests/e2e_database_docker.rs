//! The database in a deploy on real Docker: damage stops it before the switch, a backup is a database to other programs,
//! and with a proxy no request fails while a migration takes things away.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use support::apps;
use support::proxy_process::ProxyProcess;
use support::s3_server::{ACCESS_KEY, BUCKET, REGION, S3Server, SECRET_KEY};
use support::scene::Scene;
use support::writer::{Writer, assert_kept, kept_titles};

const PAGE: u64 = 4096;
const ROWS_PER_SECOND: u32 = 200;

fn folder_of(scene: &Scene) -> PathBuf {
    PathBuf::from(scene.docker.inspect(&scene.volume)["Mountpoint"].as_str().unwrap())
}

/// A database beside the app's own, with an index, some pages large.
fn make(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    let connection = Connection::open(path).unwrap();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) \
                INSERT INTO notes SELECT i, 'a note with the number ' || i FROM n";
    let schema = "PRAGMA page_size = 4096; CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT); \
                  CREATE INDEX by_text ON notes(text);";
    connection.execute_batch(&format!("{schema} {rows}")).unwrap();
}

fn overwrite(path: &Path, at: u64, length: usize) {
    File::options().write(true).open(path).unwrap().write_all_at(&vec![0xA5; length], at).unwrap();
}

/// Where the first page of a table or index begins.
fn place_of(path: &Path, name: &str) -> u64 {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
    let page: i64 = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
    (u64::try_from(page).unwrap() - 1) * PAGE
}

/// Leaves what a writer leaves that is killed in the middle of a large transaction.
fn hot_journal(path: &Path) {
    let journal = path.with_extension("db-journal");
    let (saved, saved_journal) = (path.with_extension("saved"), path.with_extension("saved-journal"));
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE notes SET text = text || '!';").unwrap();
    fs::copy(path, &saved).unwrap();
    fs::copy(&journal, &saved_journal).unwrap();
    drop(connection);
    fs::rename(saved, path).unwrap();
    fs::rename(saved_journal, journal).unwrap();
}

#[test]
fn every_damage_is_a_finding_and_stops_the_deploy_before_the_switch() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 8] = [
        ("header", |path| overwrite(path, 0, 16), "is not a SQLite database"),
        ("page", |path| overwrite(path, place_of(path, "notes"), 4096), "is damaged"),
        ("index", |path| overwrite(path, place_of(path, "by_text"), 4096), "is damaged"),
        ("truncated", |path| File::options().write(true).open(path).unwrap().set_len(3 * PAGE + 100).unwrap(), "is "),
        ("another key", |path| overwrite(path, 0, 16 << 10), "is not a SQLite database"),
        ("hot journal", hot_journal, "a crash may have left it in the middle of a transaction"),
        (
            "WAL without database",
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path.with_extension("db-wal"), [0x37; 4096]).unwrap();
            },
            "is missing, but its write-ahead log is there",
        ),
        ("no SQLite", |path| fs::write(path, "notes:\n- a\n".repeat(500)).unwrap(), "is not a SQLite database"),
    ];
    let scene = Scene::with_v1();
    let image = apps::manual(&scene.docker, "v2");
    let config = scene.config(&image).replace("path = \"manual_generator.db\"", "path = \"other.db\"");
    let before = scene.fingerprint();
    let path = folder_of(&scene).join("other.db");
    for (name, damage, finding) in damages {
        make(&path);
        damage(&path);
        let finished = scene.deployer.deploy("bluegreen.rhai", &config);
        let text = finished.said();
        assert_eq!(finished.code, 1, "{name}: {text}");
        assert!(text.contains(finding) && text.contains("other.db"), "{name}: {text}");
        assert!(!text.contains("panicked"), "{name}: {text}");
        assert_eq!(scene.fingerprint(), before, "{name}: the running service is untouched");
        assert_eq!(scene.docker.containers(true), ["manual"], "{name}");
    }
}

#[test]
fn a_backup_on_s3_is_restored_by_the_sqlite3_program() {
    let server = S3Server::start();
    let mut scene = Scene::with_v1();
    let state = scene.deployer.state().to_owned();
    scene.deployer = support::deployer::Deployer::docker()
        .state_in(&state)
        .env("BACKUP_KEY", ACCESS_KEY)
        .env("BACKUP_SECRET", SECRET_KEY);
    scene.tables = format!(
        r#"
backup = "s3://{BUCKET}/manual"

[database.s3]
endpoint = "http://{}"
region = "{REGION}"
access_key_secret = "BACKUP_KEY"
secret_key_secret = "BACKUP_SECRET"
"#,
        server.address
    );
    let image = apps::manual(&scene.docker, "v2");
    let finished = scene.deploy(&image).ok();
    assert!(!finished.said().contains(SECRET_KEY));
    let keys = server.keys();
    assert_eq!(keys.len(), 2, "before green, and before the switch: {keys:?}");
    let folder = tempfile::tempdir().unwrap();
    for key in keys {
        assert!(key.contains("manual/manual_generator-20"), "{key}");
        let (copy, restored) = (folder.path().join("copy.db"), folder.path().join("restored.db"));
        fs::write(&copy, server.object(&key).unwrap()).unwrap();
        let _ = fs::remove_file(&restored);
        let restore = format!(".restore '{}'", copy.display());
        let sql = "PRAGMA integrity_check; SELECT count(*) FROM manuals;";
        let output =
            Command::new("sqlite3").args(["-cmd", &restore]).arg(&restored).arg(sql).output().expect("sqlite3");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n3\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The tables of a deploy behind the proxy whose migration takes the columns of the one before away.
fn lossy(scene: &Scene, proxy: &ProxyProcess, version: &str, mode: &str) -> String {
    format!(
        r#"
{mode}
backup = "file://{}/backups"
migrate = ["python3", "-c", '''
import app, os, sqlite3
database = sqlite3.connect(os.environ["DATABASE_PATH"], isolation_level=None)
database.execute(app.SCHEMA)
for row in database.execute("PRAGMA table_info(manuals)").fetchall():
    if row[1].startswith("only_"):
        database.execute("ALTER TABLE manuals DROP COLUMN " + row[1])
database.execute("ALTER TABLE manuals ADD COLUMN only_{version} TEXT")
''']

{}
"#,
        scene.deployer.home().display(),
        proxy.table()
    )
}

#[test]
fn requests_wait_while_a_migration_takes_things_away_and_while_it_is_taken_back() {
    let mut scene = Scene::new();
    fs::create_dir(scene.deployer.home().join("backups")).unwrap();
    let proxy = ProxyProcess::start();
    let mut acknowledged = Vec::new();
    for (version, mode) in [("v1", ""), ("v2", "mode = \"clone\""), ("v3", "mode = \"hold\"")] {
        scene.tables = lossy(&scene, &proxy, version, mode);
        let image = apps::manual(&scene.docker, version);
        let writer = (version != "v1").then(|| Writer::start(scene.port, ROWS_PER_SECOND));
        scene.deploy(&image).ok();
        let Some(writer) = writer else { continue };
        let written = writer.finish();
        assert_eq!(written.failed, 0, "{mode}: of {}", written.acknowledged.len());
        acknowledged.extend(written.acknowledged);
        let folder = folder_of(&scene);
        assert_kept(&folder.join("manual_generator.db"), &acknowledged, mode);
        scene.serves_alone(version);

        // Back to the version and the database of before: what was written since is beside it.
        let before = acknowledged.len();
        let writer = Writer::start(scene.port, ROWS_PER_SECOND);
        let service = format!("service={}", scene.service);
        let args = ["--set", &service, "--set", "restore=true", "--set", "health.path=/health", "--set", "bake=1s"];
        scene.deployer.run("rollback.rhai", &args).ok().says("what was there is kept as");
        let written = writer.finish();
        assert_eq!(written.failed, 0, "{mode}, back: of {}", written.acknowledged.len());
        acknowledged.extend(written.acknowledged);
        assert!(acknowledged.len() > before + 50, "only {}", acknowledged.len() - before);
        scene.serves_alone("v1");
        let kept = kept_titles(&folder, &scene.volume);
        let lost = acknowledged.iter().filter(|title| !kept.contains(*title)).count();
        assert_eq!(lost, 0, "{mode}: of {}", acknowledged.len());
        let columns = scene.with_database("print([row[1] for row in database.execute('PRAGMA table_info(manuals)')])");
        assert!(columns.contains("only_v1") && !columns.contains(version), "{mode}: {columns}");
        // What the next deploy must not lose is what serves now.
        let rows =
            scene.with_database("print('\\n'.join(row[0] for row in database.execute('SELECT title FROM manuals')))");
        acknowledged.retain(|title| rows.lines().any(|row| row == title));
    }
}
