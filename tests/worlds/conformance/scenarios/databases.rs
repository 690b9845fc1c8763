//! Databases on volumes, backups on storage, and their undos.

use deployer::effect::container::{ReadStats, RemoveContainer, RunContainer, StopContainer};
use deployer::effect::object::{ArchiveContainer, DeleteObject, GetObject, ListObjects, PruneObjects, PutObject};
use deployer::effect::sqlite::{
    BackUpSqlite, CheckSqlite, DiffSchema, DryRunMigration, FindUsers, QuerySqlite, ReadSchema, RestoreSqlite,
    SeedSqlite, SqliteOutcome,
};
use deployer::effect::volume::CreateVolume;
use deployer::effect::{Effect, ErrorKind, Outcome, Request, Undo};
use serde_json::{Value, json};

use crate::conformance::context::ScenarioContext;
use crate::conformance::host::App;

const NOTES: &str =
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes(text) VALUES ('one'), ('two')";

/// Creates a volume with a database of two notes; returns the arguments that name it.
async fn database(context: &ScenarioContext<'_>) -> Value {
    let volume = context.name("data");
    context.must::<CreateVolume>(json!({ "name": volume })).await;
    let location = json!({ "path": "app.db", "volume": volume });
    assert!(context.must::<SeedSqlite>(with(&location, json!({ "sql": NOTES }))).await.seeded);
    location
}

fn with(location: &Value, more: Value) -> Value {
    let mut all = location.clone();
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

async fn rows(context: &ScenarioContext<'_>, location: &Value) -> u64 {
    context.must::<CheckSqlite>(location.clone()).await.tables.get("notes").copied().unwrap_or(0)
}

async fn undo_of(context: &ScenarioContext<'_>, effect: &Effect) -> Undo {
    let prior = match effect.spec().prior() {
        Some(question) => Some(context.perform(&question).await.unwrap()),
        None => None,
    };
    effect.spec().undo(prior.as_ref())
}

fn effect<R: Request>(args: Value) -> Effect {
    serde_json::from_value::<R>(args).unwrap().into()
}

pub async fn only_an_empty_database_is_seeded(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let again = context.must::<SeedSqlite>(with(&location, json!({ "sql": NOTES }))).await;
    assert_eq!((again.seeded, again.tables["notes"]), (false, 2));
    context.refused::<SeedSqlite>(with(&location, json!({})), ErrorKind::Invalid).await;
    let empty = with(&location, json!({ "path": "empty.db", "sql": "INSERT INTO nowhere VALUES (1)" }));
    context.refused::<SeedSqlite>(empty, ErrorKind::Failed).await;
    let missing = json!({ "path": "app.db", "volume": context.name("nowhere"), "sql": NOTES });
    context.refused::<SeedSqlite>(missing, ErrorKind::NotFound).await;
    let query = with(&location, json!({ "sql": "SELECT text FROM notes ORDER BY id" }));
    assert_eq!(context.must::<QuerySqlite>(query).await[1]["text"], "two");
}

pub async fn backed_up_and_restored(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let folder = context.folder();
    let backup = with(&location, json!({ "to": format!("{folder}/copy.db") }));
    let made = context.must::<BackUpSqlite>(backup.clone()).await;
    assert_eq!(made.tables["notes"], 2);
    context.refused::<BackUpSqlite>(backup.clone(), ErrorKind::NameTaken).await;
    context.must::<BackUpSqlite>(with(&backup, json!({ "overwrite": true }))).await;
    assert_eq!(undo_of(context, &effect::<BackUpSqlite>(backup)).await, Undo::Nothing, "backups are kept");
    let in_folder = context.must::<BackUpSqlite>(with(&location, json!({ "to": format!("{folder}/") }))).await;
    assert!(in_folder.url.name().starts_with("app-"), "{}", in_folder.url);

    let other =
        with(&location, json!({ "path": "other.db", "sql": "CREATE TABLE notes(id); INSERT INTO notes VALUES (1)" }));
    context.must::<SeedSqlite>(other.clone()).await;
    let other = with(&location, json!({ "path": "other.db" }));
    let restore = effect::<RestoreSqlite>(with(&other, json!({ "from": made.url })));
    let Undo::Effect(undo) = undo_of(context, &restore).await else { panic!("no undo") };
    let done = context.perform(&restore).await.unwrap();
    let Outcome::Sqlite(SqliteOutcome::Restore(restored)) = done else { panic!("{done:?}") };
    assert!(restored.kept.is_some());
    assert_eq!(rows(context, &other).await, 2);
    for time in ["first", "second"] {
        context.perform(&undo).await.unwrap();
        assert_eq!(rows(context, &other).await, 1, "{time} time");
    }
    let new = with(&location, json!({ "path": "new.db" }));
    let restore = effect::<RestoreSqlite>(with(&new, json!({ "from": made.url })));
    let Undo::Effect(undo) = undo_of(context, &restore).await else { panic!("no undo") };
    context.perform(&undo).await.expect("an undo without effect succeeds");
    context.perform(&restore).await.unwrap();
    assert_eq!(rows(context, &new).await, 2);
    for _ in 0..2 {
        context.perform(&undo).await.unwrap();
        context.refused::<CheckSqlite>(new.clone(), ErrorKind::NotFound).await;
    }
    let nowhere = with(&new, json!({ "from": format!("{folder}/nowhere.db") }));
    context.refused::<RestoreSqlite>(nowhere, ErrorKind::NotFound).await;
    let missing = with(&location, json!({ "path": "nowhere.db", "to": format!("{folder}/x.db") }));
    context.refused::<BackUpSqlite>(missing, ErrorKind::NotFound).await;
}

pub async fn database_users_are_found(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let folder = context.folder();
    let made = context.must::<BackUpSqlite>(with(&location, json!({ "to": format!("{folder}/copy.db") }))).await;
    let users = context.must::<FindUsers>(location.clone()).await;
    assert!(!users.in_use && users.id.is_some());
    let mount = format!("{}:/data", location["volume"].as_str().unwrap());
    let spec = json!({ "name": context.name("web"), "image": context.image(App::Web), "volumes": [mount] });
    context.must::<RunContainer>(spec).await;
    let users = context.must::<FindUsers>(location.clone()).await;
    assert!(users.in_use);
    assert_eq!((users.containers.len(), &users.containers[0].name), (1, &context.name("web")));
    let restore = with(&location, json!({ "from": made.url }));
    context.refused::<RestoreSqlite>(restore.clone(), ErrorKind::Conflict).await;
    // The same file, by its path in the container.
    let seen = json!({ "path": "/data/app.db", "container": context.name("web") });
    assert_eq!(rows(context, &seen).await, 2);
    context.must::<StopContainer>(json!({ "container": context.name("web"), "grace": "5s" })).await;
    let users = context.must::<FindUsers>(location.clone()).await;
    assert!(!users.in_use && !users.containers[0].running);
    context.must::<RestoreSqlite>(restore).await;
    context.must::<RemoveContainer>(json!({ "container": context.name("web") })).await;
}

pub async fn schemas(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let schema = context.must::<ReadSchema>(location.clone()).await;
    let columns: Vec<&str> = schema.tables["notes"].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["id", "text"]);
    let other = with(&location, json!({ "path": "other.db" }));
    let sql = "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT, tag TEXT); INSERT INTO notes(id) VALUES (1)";
    context.must::<SeedSqlite>(with(&other, json!({ "sql": sql }))).await;
    let diff = context.must::<DiffSchema>(json!({ "before": location, "after": other })).await;
    assert_eq!((diff.changes.len(), diff.destructive, diff.breaking), (1, false, false), "{diff:?}");
    let back = context.must::<DiffSchema>(json!({ "before": other, "after": schema })).await;
    assert!(back.destructive);
}

pub async fn migration_dry_run(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let dry = |more: Value| with(&location, more);
    let added = context.must::<DryRunMigration>(dry(json!({ "sql": "ALTER TABLE notes ADD COLUMN tag TEXT" }))).await;
    assert!(!added.destructive && added.diff.changes.len() == 1);
    let lost = context.must::<DryRunMigration>(dry(json!({ "sql": "DELETE FROM notes" }))).await;
    assert_eq!((lost.destructive, lost.rows["notes"].before, lost.rows["notes"].after), (true, 2, 0));
    context.refused::<DryRunMigration>(dry(json!({ "sql": "DELETE FROM nowhere" })), ErrorKind::Failed).await;
    let image =
        |command: Value| dry(json!({ "image": context.image(App::Web), "command": command, "target": "/data" }));
    let nothing = context.must::<DryRunMigration>(image(json!(["sh", "-c", "echo hello"]))).await;
    assert!(nothing.diff.changes.is_empty() && nothing.rows.is_empty());
    assert_eq!(nothing.output, ["hello"]);
    context.refused::<DryRunMigration>(image(json!(["sh", "-c", "exit 3"])), ErrorKind::Failed).await;
    let missing = dry(json!({ "image": context.name("nothing"), "command": ["true"], "target": "/data" }));
    context.refused::<DryRunMigration>(missing, ErrorKind::NotFound).await;
    assert_eq!(rows(context, &location).await, 2);
}

pub async fn archives(context: &ScenarioContext<'_>) {
    let web = context.start("web", App::Web).await;
    context.until_logged("web", "listening").await;
    let stats = context.must::<ReadStats>(json!({ "container": web.id })).await;
    assert!(stats.memory > 0 && stats.processes > 0, "{stats:?}");
    let archive = json!({ "container": context.name("web"), "to": format!("{}/", context.folder()) });
    let archived = context.must::<ArchiveContainer>(archive.clone()).await;
    assert!(archived.size >= "listening".len() as u64, "{archived:?}");
    assert!(archived.url.name().starts_with(&format!("{}-", context.name("web"))), "{}", archived.url);
    assert_eq!(undo_of(context, &effect::<ArchiveContainer>(archive)).await, Undo::Nothing, "archives are kept");
    let found = context.must::<ListObjects>(json!({ "prefix": format!("{}/", context.folder()) })).await;
    let urls: Vec<_> = found.iter().map(|object| object.url.to_string()).collect();
    assert_eq!(urls, [archived.url.to_string(), archived.facts.to_string()]);
    let again = json!({ "container": web.id, "to": archived.url });
    context.refused::<ArchiveContainer>(again, ErrorKind::NameTaken).await;
    context.must::<StopContainer>(json!({ "container": web.id, "grace": "5s" })).await;
    context.refused::<ReadStats>(json!({ "container": web.id }), ErrorKind::Conflict).await;
    let stopped = json!({ "container": web.id, "to": format!("{}/stopped.log", context.folder()) });
    assert!(context.must::<ArchiveContainer>(stopped).await.size > 0, "a stopped container can be archived too");
    let missing = json!({ "container": context.name("missing"), "to": format!("{}/", context.folder()) });
    context.refused::<ArchiveContainer>(missing, ErrorKind::NotFound).await;
}

pub async fn objects(context: &ScenarioContext<'_>) {
    let location = database(context).await;
    let folder = context.folder();
    let from = format!("{folder}/copy.db");
    let path = from.strip_prefix("file://").unwrap().to_owned();
    context.must::<BackUpSqlite>(with(&location, json!({ "to": from }))).await;
    let list = async || context.must::<ListObjects>(json!({ "prefix": format!("{folder}/") })).await;
    let before = list().await;
    assert_eq!(before.len(), 1);
    let put = json!({ "path": path, "to": format!("{folder}/again.db") });
    let get = json!({ "url": from, "path": format!("{path}.fetched") });
    for effect in [effect::<PutObject>(put.clone()), effect::<GetObject>(get)] {
        let Undo::Effect(undo) = undo_of(context, &effect).await else { panic!("no undo") };
        context.perform(&effect).await.unwrap();
        assert_eq!(list().await.len(), 2);
        assert_eq!(context.perform(&effect).await.unwrap_err().kind, ErrorKind::NameTaken);
        for _ in 0..2 {
            context.perform(&undo).await.unwrap();
            assert_eq!(list().await, before);
        }
    }
    let delete = json!({ "url": from });
    assert!(matches!(undo_of(context, &effect::<DeleteObject>(delete.clone())).await, Undo::Impossible(_)));
    let disposable = with(&delete, json!({ "disposable": true }));
    assert_eq!(undo_of(context, &effect::<DeleteObject>(disposable)).await, Undo::Nothing);
    context.must::<PutObject>(put).await;
    let pruned = context.must::<PruneObjects>(json!({ "prefix": format!("{folder}/"), "keep": 1 })).await;
    assert_eq!((pruned.deleted.len(), pruned.kept), (1, 1));
    let left = list().await;
    assert!(context.must::<DeleteObject>(json!({ "url": left[0].url })).await.removed);
    context.refused::<DeleteObject>(json!({ "url": left[0].url }), ErrorKind::NotFound).await;
    assert!(list().await.is_empty());
}
