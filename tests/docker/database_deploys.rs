//! Databases in deploys on real Docker. Damage stops a deploy before the cutover, other programs can read a backup, and
//! behind a proxy no request fails during a destructive migration.

use crate::support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use support::apps;
use support::manual_app::ManualApp;
use support::proxy_process::ProxyProcess;
use support::s3_server::{ACCESS_KEY, BUCKET, REGION, S3Server, SECRET_KEY};
use support::steady_client::SteadyClient;
use support::writer::{Writer, assert_has_rows, titles_on_volumes};

const PAGE: u64 = 4096;
const ROWS_PER_SECOND: u32 = 200;

fn volume_folder(app: &ManualApp) -> PathBuf {
    PathBuf::from(app.docker.inspect(&app.volume)["Mountpoint"].as_str().unwrap())
}

/// Creates a database of several pages, with an index.
fn create_database(path: &Path) {
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

/// Returns the offset of the first page of a table or index.
fn page_offset(path: &Path, name: &str) -> u64 {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?";
    let page: i64 = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
    (u64::try_from(page).unwrap() - 1) * PAGE
}

/// Leaves a hot journal, as a writer does that is killed during a large transaction.
fn leave_hot_journal(path: &Path) {
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
fn damage_of_every_kind_is_reported_and_stops_the_deploy_before_the_cutover() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 8] = [
        ("header", |path| overwrite(path, 0, 16), "is not a SQLite database"),
        ("page", |path| overwrite(path, page_offset(path, "notes"), 4096), "is damaged"),
        ("index", |path| overwrite(path, page_offset(path, "by_text"), 4096), "is damaged"),
        ("truncated", |path| File::options().write(true).open(path).unwrap().set_len(3 * PAGE + 100).unwrap(), "is "),
        ("another key", |path| overwrite(path, 0, 16 << 10), "is not a SQLite database"),
        ("hot journal", leave_hot_journal, "a crash may have interrupted a transaction"),
        (
            "WAL without database",
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path.with_extension("db-wal"), [0x37; 4096]).unwrap();
            },
            "is missing, but its write-ahead log exists",
        ),
        ("no SQLite", |path| fs::write(path, "notes:\n- a\n".repeat(500)).unwrap(), "is not a SQLite database"),
    ];
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v2");
    let config = app.config(&image).replace("path = \"manual_generator.db\"", "path = \"other.db\"");
    let before = app.fingerprint();
    let path = volume_folder(&app).join("other.db");
    for (name, damage, finding) in damages {
        create_database(&path);
        damage(&path);
        let finished = app.deployer.deploy("bluegreen.rhai", &config);
        let text = finished.said();
        assert_eq!(finished.code, 1, "{name}: {text}");
        assert!(text.contains(finding) && text.contains("other.db"), "{name}: {text}");
        assert!(!text.contains("panicked"), "{name}: {text}");
        assert_eq!(app.fingerprint(), before, "{name}: the live service is unchanged");
        assert_eq!(app.docker.current_containers(), ["manual"], "{name}");
    }
}

#[test]
fn a_migration_of_another_database_than_the_open_one_is_refused() {
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v2");
    let folder = app.docker.inspect(&app.service)["Mounts"][0]["Destination"].as_str().unwrap().to_owned();
    let hold_open = format!(
        "import sqlite3, time; c = sqlite3.connect('{folder}/live.db'); c.execute('CREATE TABLE t (a)'); c.commit(); \
         open('{folder}/ready', 'w').close(); time.sleep(600)"
    );
    app.docker.cli(&["exec", "--detach", &app.service, "python3", "-c", &hold_open]);
    support::until("the open database", || volume_folder(&app).join("ready").exists().then_some(()));
    create_database(&volume_folder(&app).join("other.db"));
    let before = app.fingerprint();
    let config = |path: &str| {
        let path = format!("path = \"{path}\"\nmigrate = [\"false\"]");
        app.config(&image).replace("path = \"manual_generator.db\"", &path)
    };
    let refused = app.deployer.deploy("bluegreen.rhai", &config("other.db")).code(1);
    refused.says(&format!("has the database '{folder}/live.db' open")).says("database.missing_ok");
    let refused = app.deployer.deploy("bluegreen.rhai", &config("manual_generator.sqlite")).code(1);
    refused.says("there is no database").says("database.missing_ok");
    // A link that is absolute inside the volume points elsewhere from outside.
    symlink(format!("{folder}/live.db"), volume_folder(&app).join("link.db")).unwrap();
    app.deployer.deploy("bluegreen.rhai", &config("link.db")).code(1);
    assert_eq!(app.fingerprint(), before);
    assert_eq!(app.docker.current_containers(), ["manual"]);
}

#[test]
fn a_backup_on_s3_is_restored_by_the_sqlite3_program() {
    let server = S3Server::start();
    let mut app = ManualApp::with_v1();
    let state = app.deployer.state().to_owned();
    app.deployer = support::deployer::Deployer::docker()
        .state_in(&state)
        .env("BACKUP_KEY", ACCESS_KEY)
        .env("BACKUP_SECRET", SECRET_KEY);
    app.tables = format!(
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
    let image = apps::manual_image(&app.docker, "v2");
    let finished = app.deploy(&image).ok();
    assert!(!finished.said().contains(SECRET_KEY));
    let keys = server.keys();
    assert_eq!(keys.len(), 2, "one before green, and one before the cutover: {keys:?}");
    let folder = tempfile::tempdir().unwrap();
    for key in keys {
        assert!(key.contains("@manual_generator-20"), "{key}");
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

/// Returns the configuration tables of a deploy behind the proxy. Its migration drops the columns that the previous one
/// added.
fn destructive_migration(app: &ManualApp, proxy: &ProxyProcess, version: &str, mode: &str) -> String {
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
        app.deployer.home().display(),
        proxy.table()
    )
}

#[test]
fn requests_wait_during_a_destructive_migration_and_its_rollback() {
    let mut app = ManualApp::new();
    fs::create_dir(app.deployer.home().join("backups")).unwrap();
    let proxy = ProxyProcess::start();
    let mut acknowledged = Vec::new();
    for (version, mode) in [("v1", ""), ("v2", "mode = \"clone\""), ("v3", "mode = \"hold\"")] {
        app.tables = destructive_migration(&app, &proxy, version, mode);
        let image = apps::manual_image(&app.docker, version);
        let writer = (version != "v1").then(|| Writer::start(app.port, ROWS_PER_SECOND));
        app.deploy(&image).ok();
        let Some(writer) = writer else { continue };
        let written = writer.finish();
        assert_eq!(written.failed, 0, "{mode}: of {}", written.acknowledged.len());
        acknowledged.extend(written.acknowledged);
        let folder = volume_folder(&app);
        assert_has_rows(&folder.join("manual_generator.db"), &acknowledged, mode);
        app.serves_alone(version);

        // Roll back to the first version and its database. The rows written since then are kept in a copy.
        let before = acknowledged.len();
        let writer = Writer::start(app.port, ROWS_PER_SECOND);
        let service = format!("service={}", app.service);
        let args = ["--set", &service, "--set", "restore=true", "--set", "health.path=/health", "--set", "bake=1s"];
        app.deployer.run("rollback.rhai", &args).ok().says("is kept as");
        let written = writer.finish();
        assert_eq!(written.failed, 0, "{mode}, release rollback: of {}", written.acknowledged.len());
        acknowledged.extend(written.acknowledged);
        assert!(acknowledged.len() > before + 50, "only {}", acknowledged.len() - before);
        app.serves_alone("v1");
        let titles = titles_on_volumes(&folder, &app.volume);
        let lost = acknowledged.iter().filter(|title| !titles.contains(*title)).count();
        assert_eq!(lost, 0, "{mode}: of {}", acknowledged.len());
        let columns = app.with_database("print([row[1] for row in database.execute('PRAGMA table_info(manuals)')])");
        assert!(columns.contains("only_v1") && !columns.contains(version), "{mode}: {columns}");
        // The next deploy must keep the rows of the live database.
        let rows =
            app.with_database("print('\\n'.join(row[0] for row in database.execute('SELECT title FROM manuals')))");
        acknowledged.retain(|title| rows.lines().any(|row| row == title));
    }
}

#[test]
fn a_cancel_after_the_cutover_of_a_migration_restores_the_old_version_without_a_failed_request() {
    for mode in ["clone", "hold"] {
        let mut app = ManualApp::new();
        fs::create_dir(app.deployer.home().join("backups")).unwrap();
        let proxy = ProxyProcess::start();
        app.tables = destructive_migration(&app, &proxy, "v1", "");
        app.deploy(&apps::manual_image(&app.docker, "v1")).ok();
        app.tables = destructive_migration(&app, &proxy, "v2", &format!("mode = \"{mode}\""));
        let config = app.deployer.file("second.toml", &app.config(&apps::manual_image(&app.docker, "v2")));
        let args = ["--config", &config, "--set", "traffic.keep_warm=10m"];
        let client = SteadyClient::start(app.port, "/health", 20);
        let mut run = app.deployer.watch_run("bluegreen.rhai", &args);
        // The only pause of the script is in the watch.
        run.until_intended("sleep");
        assert_eq!(app.get("/health").version, "v2", "{mode}");
        run.signal(nix::sys::signal::Signal::SIGINT);
        run.wait().code(130);
        assert_eq!(app.get("/health").version, "v1", "{mode}");
        let report = client.finish();
        assert_eq!(report.failed, 0, "{mode}: {:?}", report.failures);
        let columns = app.with_database("print([row[1] for row in database.execute('PRAGMA table_info(manuals)')])");
        assert!(columns.contains("only_v1") && !columns.contains("only_v2"), "{mode}: {columns}");
        app.serves_alone("v1");
    }
}

#[test]
fn a_killed_dry_run_leaves_no_copy_of_the_database() {
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v1");
    create_database(&volume_folder(&app).join("other.db"));
    let script = format!(
        "sqlite_migrate_dry_run(\"other.db\", #{{volume: \"{}\", image: \"{image}\", command: [\"sleep\", \"600\"], \
         target: \"/data\"}});",
        app.volume
    );
    let path = app.deployer.file("dry_run.rhai", &script);
    let mut run = app.deployer.watch_run(&path, &[]);
    let started = run.until("the start", |event| event["entry"] == "run_started");
    let owner = format!("-{}-{}-", started["header"]["pid"], started["header"]["process_start"]);
    let copies = || -> Vec<PathBuf> {
        let entries = fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains(&owner)).collect()
    };
    run.until_intended("sqlite_migrate_dry_run");
    let id = run.id();
    let named = format!("name=deployer-dry-run-{id}");
    support::until("the container", || {
        (!app.docker.cli(&["ps", "--quiet", "--filter", &named]).is_empty()).then_some(())
    });
    assert_eq!(copies().len(), 1, "{:?}", copies());
    assert_eq!(copies()[0].metadata().unwrap().permissions().mode() & 0o777, 0o700);
    run.kill();
    app.deployer.call(&["abort", &id]).ok();
    assert_eq!(copies(), [""; 0].map(PathBuf::from));
    assert_eq!(app.docker.cli(&["ps", "--all", "--quiet", "--filter", &named]), "");
    assert_eq!(app.docker.cli(&["volume", "ls", "--quiet", "--filter", &named]), "");
    app.serves_alone("v1");
}
