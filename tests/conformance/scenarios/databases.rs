//! Databases on volumes, their copies on storage, and how both are taken back.

use deployer::effect::container::{ReadStats, RemoveContainer, RunContainer, StopContainer};
use deployer::effect::object::{ArchiveContainer, DeleteObject, GetObject, ListObjects, PruneObjects, PutObject};
use deployer::effect::sqlite::{
    BackUpSqlite, CheckSqlite, DiffSchema, DryRunMigration, FindUsers, QuerySqlite, ReadSchema, RestoreSqlite,
    SeedSqlite, SqliteOutcome,
};
use deployer::effect::volume::CreateVolume;
use deployer::effect::{Effect, ErrorKind, Outcome, Request, Undo};
use serde_json::{Value, json};

use crate::host::App;
use crate::stage::Stage;

const NOTES: &str =
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO notes(text) VALUES ('one'), ('two')";

/// A volume with a database that has two notes; the arguments that name it.
async fn database(stage: &Stage<'_>) -> Value {
    let volume = stage.name("data");
    stage.must::<CreateVolume>(json!({ "name": volume })).await;
    let place = json!({ "path": "app.db", "volume": volume });
    assert!(stage.must::<SeedSqlite>(with(&place, json!({ "sql": NOTES }))).await.seeded);
    place
}

fn with(place: &Value, more: Value) -> Value {
    let mut all = place.clone();
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    all
}

async fn rows(stage: &Stage<'_>, place: &Value) -> u64 {
    stage.must::<CheckSqlite>(place.clone()).await.tables.get("notes").copied().unwrap_or(0)
}

async fn undo_of(stage: &Stage<'_>, effect: &Effect) -> Undo {
    let prior = match effect.facts().prior() {
        Some(question) => Some(stage.perform(&question).await.unwrap()),
        None => None,
    };
    effect.facts().undo(prior.as_ref())
}

fn effect<R: Request>(args: Value) -> Effect {
    serde_json::from_value::<R>(args).unwrap().into()
}

pub async fn seeded_once(stage: &Stage<'_>) {
    let place = database(stage).await;
    let again = stage.must::<SeedSqlite>(with(&place, json!({ "sql": NOTES }))).await;
    assert_eq!((again.seeded, again.tables["notes"]), (false, 2));
    stage.refused::<SeedSqlite>(with(&place, json!({})), ErrorKind::Invalid).await;
    let empty = with(&place, json!({ "path": "empty.db", "sql": "INSERT INTO nowhere VALUES (1)" }));
    stage.refused::<SeedSqlite>(empty, ErrorKind::Failed).await;
    let missing = json!({ "path": "app.db", "volume": stage.name("nowhere"), "sql": NOTES });
    stage.refused::<SeedSqlite>(missing, ErrorKind::NotFound).await;
    let query = with(&place, json!({ "sql": "SELECT text FROM notes ORDER BY id" }));
    assert_eq!(stage.must::<QuerySqlite>(query).await[1]["text"], "two");
}

pub async fn backed_up_and_restored(stage: &Stage<'_>) {
    let place = database(stage).await;
    let folder = stage.folder();
    let backup = with(&place, json!({ "to": format!("{folder}/copy.db") }));
    let made = stage.must::<BackUpSqlite>(backup.clone()).await;
    assert_eq!(made.tables["notes"], 2);
    stage.refused::<BackUpSqlite>(backup.clone(), ErrorKind::NameTaken).await;
    stage.must::<BackUpSqlite>(with(&backup, json!({ "overwrite": true }))).await;
    assert_eq!(undo_of(stage, &effect::<BackUpSqlite>(backup)).await, Undo::Nothing, "backups stay");
    let in_folder = stage.must::<BackUpSqlite>(with(&place, json!({ "to": format!("{folder}/") }))).await;
    assert!(in_folder.url.name().starts_with("app-"), "{}", in_folder.url);

    let other =
        with(&place, json!({ "path": "other.db", "sql": "CREATE TABLE notes(id); INSERT INTO notes VALUES (1)" }));
    stage.must::<SeedSqlite>(other.clone()).await;
    let other = with(&place, json!({ "path": "other.db" }));
    let restore = effect::<RestoreSqlite>(with(&other, json!({ "from": made.url })));
    let Undo::Effect(undo) = undo_of(stage, &restore).await else { panic!("no undo") };
    let done = stage.perform(&restore).await.unwrap();
    let Outcome::Sqlite(SqliteOutcome::Restore(restored)) = done else { panic!("{done:?}") };
    assert!(restored.kept.is_some());
    assert_eq!(rows(stage, &other).await, 2);
    for time in ["first", "second"] {
        stage.perform(&undo).await.unwrap();
        assert_eq!(rows(stage, &other).await, 1, "{time} time");
    }
    let new = with(&place, json!({ "path": "new.db" }));
    let restore = effect::<RestoreSqlite>(with(&new, json!({ "from": made.url })));
    let Undo::Effect(undo) = undo_of(stage, &restore).await else { panic!("no undo") };
    stage.perform(&undo).await.expect("nothing was done, so there is nothing to take back");
    stage.perform(&restore).await.unwrap();
    assert_eq!(rows(stage, &new).await, 2);
    for _ in 0..2 {
        stage.perform(&undo).await.unwrap();
        stage.refused::<CheckSqlite>(new.clone(), ErrorKind::NotFound).await;
    }
    let nowhere = with(&new, json!({ "from": format!("{folder}/nowhere.db") }));
    stage.refused::<RestoreSqlite>(nowhere, ErrorKind::NotFound).await;
    let missing = with(&place, json!({ "path": "nowhere.db", "to": format!("{folder}/x.db") }));
    stage.refused::<BackUpSqlite>(missing, ErrorKind::NotFound).await;
}

pub async fn writers_are_found(stage: &Stage<'_>) {
    let place = database(stage).await;
    let folder = stage.folder();
    let made = stage.must::<BackUpSqlite>(with(&place, json!({ "to": format!("{folder}/copy.db") }))).await;
    let users = stage.must::<FindUsers>(place.clone()).await;
    assert!(!users.in_use && users.id.is_some());
    let mount = format!("{}:/data", place["volume"].as_str().unwrap());
    let spec = json!({ "name": stage.name("web"), "image": stage.image(App::Web), "volumes": [mount] });
    stage.must::<RunContainer>(spec).await;
    let users = stage.must::<FindUsers>(place.clone()).await;
    assert!(users.in_use);
    assert_eq!((users.containers.len(), &users.containers[0].name), (1, &stage.name("web")));
    let restore = with(&place, json!({ "from": made.url }));
    stage.refused::<RestoreSqlite>(restore.clone(), ErrorKind::Conflict).await;
    // The same file as the container sees it.
    let seen = json!({ "path": "/data/app.db", "container": stage.name("web") });
    assert_eq!(rows(stage, &seen).await, 2);
    stage.must::<StopContainer>(json!({ "container": stage.name("web"), "grace": "5s" })).await;
    let users = stage.must::<FindUsers>(place.clone()).await;
    assert!(!users.in_use && !users.containers[0].running);
    stage.must::<RestoreSqlite>(restore).await;
    stage.must::<RemoveContainer>(json!({ "container": stage.name("web") })).await;
}

pub async fn schemas(stage: &Stage<'_>) {
    let place = database(stage).await;
    let schema = stage.must::<ReadSchema>(place.clone()).await;
    let columns: Vec<&str> = schema.tables["notes"].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["id", "text"]);
    let other = with(&place, json!({ "path": "other.db" }));
    let sql = "CREATE TABLE notes(id INTEGER PRIMARY KEY, text TEXT, tag TEXT); INSERT INTO notes(id) VALUES (1)";
    stage.must::<SeedSqlite>(with(&other, json!({ "sql": sql }))).await;
    let diff = stage.must::<DiffSchema>(json!({ "before": place, "after": other })).await;
    assert_eq!((diff.changes.len(), diff.destructive, diff.breaking), (1, false, false), "{diff:?}");
    let back = stage.must::<DiffSchema>(json!({ "before": other, "after": schema })).await;
    assert!(back.destructive);
}

pub async fn migration_is_tried(stage: &Stage<'_>) {
    let place = database(stage).await;
    let dry = |more: Value| with(&place, more);
    let added = stage.must::<DryRunMigration>(dry(json!({ "sql": "ALTER TABLE notes ADD COLUMN tag TEXT" }))).await;
    assert!(!added.destructive && added.diff.changes.len() == 1);
    let lost = stage.must::<DryRunMigration>(dry(json!({ "sql": "DELETE FROM notes" }))).await;
    assert_eq!((lost.destructive, lost.rows["notes"].before, lost.rows["notes"].after), (true, 2, 0));
    stage.refused::<DryRunMigration>(dry(json!({ "sql": "DELETE FROM nowhere" })), ErrorKind::Failed).await;
    let image = |command: Value| dry(json!({ "image": stage.image(App::Web), "command": command, "target": "/data" }));
    let nothing = stage.must::<DryRunMigration>(image(json!(["sh", "-c", "echo hello"]))).await;
    assert!(nothing.diff.changes.is_empty() && nothing.rows.is_empty());
    assert_eq!(nothing.output, ["hello"]);
    stage.refused::<DryRunMigration>(image(json!(["sh", "-c", "exit 3"])), ErrorKind::Failed).await;
    let missing = dry(json!({ "image": stage.name("nothing"), "command": ["true"], "target": "/data" }));
    stage.refused::<DryRunMigration>(missing, ErrorKind::NotFound).await;
    assert_eq!(rows(stage, &place).await, 2);
}

pub async fn archives(stage: &Stage<'_>) {
    let web = stage.start("web", App::Web).await;
    stage.until_logged("web", "listening").await;
    let stats = stage.must::<ReadStats>(json!({ "container": web.id })).await;
    assert!(stats.memory > 0 && stats.processes > 0, "{stats:?}");
    let archive = json!({ "container": stage.name("web"), "to": format!("{}/", stage.folder()) });
    let archived = stage.must::<ArchiveContainer>(archive.clone()).await;
    assert!(archived.size >= "listening".len() as u64, "{archived:?}");
    assert!(archived.url.name().starts_with(&format!("{}-", stage.name("web"))), "{}", archived.url);
    assert_eq!(undo_of(stage, &effect::<ArchiveContainer>(archive)).await, Undo::Nothing, "archives stay");
    let found = stage.must::<ListObjects>(json!({ "prefix": format!("{}/", stage.folder()) })).await;
    let urls: Vec<_> = found.iter().map(|object| object.url.to_string()).collect();
    assert_eq!(urls, [archived.url.to_string(), archived.facts.to_string()]);
    let again = json!({ "container": web.id, "to": archived.url });
    stage.refused::<ArchiveContainer>(again, ErrorKind::NameTaken).await;
    stage.must::<StopContainer>(json!({ "container": web.id, "grace": "5s" })).await;
    stage.refused::<ReadStats>(json!({ "container": web.id }), ErrorKind::Conflict).await;
    let stopped = json!({ "container": web.id, "to": format!("{}/stopped.log", stage.folder()) });
    assert!(stage.must::<ArchiveContainer>(stopped).await.size > 0, "also of one that has ended");
    let nobody = json!({ "container": stage.name("nobody"), "to": format!("{}/", stage.folder()) });
    stage.refused::<ArchiveContainer>(nobody, ErrorKind::NotFound).await;
}

pub async fn objects(stage: &Stage<'_>) {
    let place = database(stage).await;
    let folder = stage.folder();
    let from = format!("{folder}/copy.db");
    let path = from.strip_prefix("file://").unwrap().to_owned();
    stage.must::<BackUpSqlite>(with(&place, json!({ "to": from }))).await;
    let list = async || stage.must::<ListObjects>(json!({ "prefix": format!("{folder}/") })).await;
    let before = list().await;
    assert_eq!(before.len(), 1);
    let put = json!({ "path": path, "to": format!("{folder}/again.db") });
    let get = json!({ "url": from, "path": format!("{path}.fetched") });
    for effect in [effect::<PutObject>(put.clone()), effect::<GetObject>(get)] {
        let Undo::Effect(undo) = undo_of(stage, &effect).await else { panic!("no undo") };
        stage.perform(&effect).await.unwrap();
        assert_eq!(list().await.len(), 2);
        assert_eq!(stage.perform(&effect).await.unwrap_err().kind, ErrorKind::NameTaken);
        for _ in 0..2 {
            stage.perform(&undo).await.unwrap();
            assert_eq!(list().await, before);
        }
    }
    let delete = json!({ "url": from });
    assert!(matches!(undo_of(stage, &effect::<DeleteObject>(delete.clone())).await, Undo::Impossible(_)));
    let lightly = with(&delete, json!({ "disposable": true }));
    assert_eq!(undo_of(stage, &effect::<DeleteObject>(lightly)).await, Undo::Nothing);
    stage.must::<PutObject>(put).await;
    let pruned = stage.must::<PruneObjects>(json!({ "prefix": format!("{folder}/"), "keep": 1 })).await;
    assert_eq!((pruned.deleted.len(), pruned.kept), (1, 1));
    let left = list().await;
    assert!(stage.must::<DeleteObject>(json!({ "url": left[0].url })).await.removed);
    stage.refused::<DeleteObject>(json!({ "url": left[0].url }), ErrorKind::NotFound).await;
    assert!(list().await.is_empty());
}
