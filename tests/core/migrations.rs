//! How `bluegreen.rhai` and `rollback.rhai` treat a database: which mode they choose and why, what they refuse, and what
//! a way back means for the data.

use std::collections::BTreeMap;
use std::sync::Arc;

use deployer::journal::entry::RunStatus;
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Program, Scenario};
use serde_json::{Value, json};

use crate::deploys::placed;
use crate::play::{Play, Played, play};

/// Migrations of `web:v2`: one takes a row away, one only adds.
pub const LOSSY: &str = "DELETE FROM notes WHERE id = 1";
const MILD: &str = "ALTER TABLE notes ADD COLUMN tag";

/// `web` with a database of two rows, and a new image with this migration.
pub fn with_database(migration: &str) -> Scenario {
    let mut scenario =
        Scenario { containers: vec![placed("web:v1", json!({"volumes": ["data:/data"]}))], ..Scenario::default() };
    let sql = BTreeMap::from([("data:app.db".to_owned(), migration.to_owned())]);
    let migrate = Program { takes_ms: 500, sql, ..Program::default() };
    let new = scenario.images.iter_mut().find(|image| image.names.iter().any(|name| name == "web:v2")).unwrap();
    Arc::make_mut(&mut new.behaviour).programs.insert("migrate".into(), migrate);
    let database = serde_json::from_value(json!({"tables": {"notes": [{"id": 1}, {"id": 2}]}})).unwrap();
    scenario.volumes.get_mut("data").unwrap().databases.insert("app.db".into(), database);
    scenario
}

/// Parameters of a deploy that migrates it; no mode leaves the choice to the script.
pub fn migrating(mode: impl Into<Option<&'static str>>) -> Value {
    json!({"volumes": ["data:/data"], "archive": {"logs": "file:///var/log/web"}, "database": {
        "volume": "data", "path": "app.db", "migrate": ["migrate"], "backup": "file:///var/backups", "mode": mode.into(),
    }})
}

fn shipped(script: &str, given: Value) -> Play {
    let text = SHIPPED.iter().find(|(name, _)| *name == script).unwrap().1;
    let mut all = json!({"service": "web", "bake": "1s"});
    all.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    play(text).with(all)
}

fn deploy(migration: &str, mode: impl Into<Option<&'static str>>) -> Played {
    let mut given = migrating(mode);
    given["image"] = json!("web:v2");
    shipped("bluegreen.rhai", given).on(with_database(migration)).run()
}

#[track_caller]
fn says(played: &Played, text: &str) {
    let said = played.said();
    assert!(said.iter().any(|line| line.contains(text)), "`{text}` is not said: {said:#?} {}", played.report());
}

fn notes(played: &Played) -> usize {
    played.after.volumes["data"].databases["app.db"].tables["notes"].len()
}

#[test]
fn the_mode_is_chosen_from_the_facts_and_said_aloud() {
    let mild = deploy(MILD, None);
    assert_eq!(mild.status(), RunStatus::Succeeded, "{}", mild.report());
    says(&mild, "mode 'shared', since the migration only adds");
    let lossy = deploy(LOSSY, None);
    assert_eq!(lossy.status(), RunStatus::Succeeded, "{}", lossy.report());
    says(&lossy, "mode 'clone', since the migration destroys what a former version needs");
    says(&lossy, "notes from 2 to 1 rows");
    assert_eq!(notes(&lossy), 1);
}

#[test]
fn what_would_lose_data_is_refused() {
    let shared = deploy(LOSSY, "shared");
    assert_eq!(shared.status(), RunStatus::Failed);
    assert!(shared.report().contains("in the mode 'shared' blue uses the same database"), "{}", shared.report());
    assert_eq!(shared.before, shared.after);
    let mut scenario = with_database(LOSSY);
    let other = json!({"name": "worker", "ports": [], "volumes": ["data:/data"]});
    scenario.containers.push(placed("web:v1", other));
    let mut given = migrating(None);
    given["image"] = json!("web:v2");
    let beside = shipped("bluegreen.rhai", given).on(scenario).run();
    assert_eq!(beside.status(), RunStatus::Failed);
    assert!(beside.report().contains("worker"), "{}", beside.report());
}

#[test]
fn a_rollback_says_what_it_means_and_restores_only_when_told_to() {
    // Without a backup, what is migrated in place is kept as a snapshot.
    let bare = || {
        let mut given = migrating("hold");
        given["image"] = json!("web:v2");
        given["database"].as_object_mut().unwrap().remove("backup");
        shipped("bluegreen.rhai", given).on(with_database(LOSSY)).run()
    };
    let deploys: [(&str, &dyn Fn() -> Played); 3] =
        [("clone", &|| deploy(LOSSY, "clone")), ("hold", &|| deploy(LOSSY, "hold")), ("hold, no backup", &bare)];
    for (mode, deploy) in deploys {
        let deployed = deploy();
        let left = shipped("rollback.rhai", json!({})).in_world(deployed.world.clone()).run();
        assert_eq!(left.status(), RunStatus::Succeeded, "{}", left.report());
        says(&left, "took values away from the database");
        says(&left, "--set restore=true");
        assert_eq!(notes(&left), 1, "{mode}");

        let deployed = deploy();
        let restored = shipped("rollback.rhai", json!({"restore": true})).in_world(deployed.world.clone()).run();
        assert_eq!(restored.status(), RunStatus::Succeeded, "{}", restored.report());
        says(&restored, "is kept");
        assert_eq!(notes(&restored), 2, "{mode}");
    }
}

#[test]
fn logs_go_to_a_log_group() {
    let mut given = migrating("shared");
    given["image"] = json!("web:v2");
    given["archive"] = json!({ "logs": "cloudwatch:///app/web", "keep": 1 });
    let deployed = shipped("bluegreen.rhai", given).on(with_database(MILD)).run();
    assert_eq!(deployed.status(), RunStatus::Succeeded, "{}", deployed.report());
    says(&deployed, "the log of 'web': cloudwatch:///app/web/web-");
    assert!(!deployed.said().iter().any(|line| line.contains("old copies stay")));
}
