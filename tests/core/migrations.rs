//! How `bluegreen.rhai` and `rollback.rhai` treat a database: which mode they choose and why, what they refuse, and
//! what a rollback means for the data.

use std::collections::BTreeMap;
use std::sync::Arc;

use deployer::journal::entry::RunStatus;
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Scenario, SimProgram};
use serde_json::{Value, json};

use crate::shipped_deploys::foreign_container;
use crate::test_run::{FinishedRun, TestRun, test_run};

/// Migrations of `web:v2`: one deletes a row, the other only adds a column.
pub const LOSSY: &str = "DELETE FROM notes WHERE id = 1";
const ADDITIVE: &str = "ALTER TABLE notes ADD COLUMN tag";

/// `web` with a database of two rows, and a new image that runs this migration.
pub fn with_database(migration: &str) -> Scenario {
    let mut scenario = Scenario {
        containers: vec![foreign_container("web:v1", json!({"volumes": ["data:/data"]}))],
        ..Scenario::default()
    };
    let sql = BTreeMap::from([("data:app.db".to_owned(), migration.to_owned())]);
    let migrate = SimProgram { takes_ms: 500, sql, ..SimProgram::default() };
    let new = scenario.images.iter_mut().find(|image| image.names.iter().any(|name| name == "web:v2")).unwrap();
    Arc::make_mut(&mut new.behaviour).programs.insert("migrate".into(), migrate);
    let database = serde_json::from_value(json!({"tables": {"notes": [{"id": 1}, {"id": 2}]}})).unwrap();
    scenario.volumes.get_mut("data").unwrap().databases.insert("app.db".into(), database);
    scenario
}

/// Parameters of a deploy that migrates the database. Without a mode, the script chooses one.
pub fn migrating(mode: impl Into<Option<&'static str>>) -> Value {
    json!({"volumes": ["data:/data"], "archive": {"logs": "file:///var/log/web"}, "database": {
        "volume": "data", "path": "app.db", "migrate": ["migrate"], "backup": "file:///var/backups", "mode": mode.into(),
    }})
}

fn shipped(script: &str, given: Value) -> TestRun {
    let text = SHIPPED.iter().find(|(name, _)| *name == script).unwrap().1;
    let mut all = json!({"service": "web", "bake": "1s"});
    all.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    test_run(text).with(all)
}

fn deploy(migration: &str, mode: impl Into<Option<&'static str>>) -> FinishedRun {
    let mut given = migrating(mode);
    given["image"] = json!("web:v2");
    shipped("bluegreen.rhai", given).on(with_database(migration)).run()
}

#[track_caller]
fn assert_logged(finished: &FinishedRun, text: &str) {
    let messages = finished.messages();
    assert!(
        messages.iter().any(|line| line.contains(text)),
        "`{text}` was not logged: {messages:#?} {}",
        finished.report()
    );
}

fn note_count(finished: &FinishedRun) -> usize {
    finished.after.volumes["data"].databases["app.db"].tables["notes"].len()
}

#[test]
fn the_mode_is_chosen_from_the_facts_and_logged() {
    let additive = deploy(ADDITIVE, None);
    assert_eq!(additive.status(), RunStatus::Succeeded, "{}", additive.report());
    assert_logged(&additive, "mode 'shared', because the migration only adds");
    let lossy = deploy(LOSSY, None);
    assert_eq!(lossy.status(), RunStatus::Succeeded, "{}", lossy.report());
    assert_logged(&lossy, "mode 'clone', because the migration destroys what the previous version needs");
    assert_logged(&lossy, "notes from 2 to 1 rows");
    assert_eq!(note_count(&lossy), 1);
}

#[test]
fn a_deploy_that_would_lose_data_is_refused() {
    let shared = deploy(LOSSY, "shared");
    assert_eq!(shared.status(), RunStatus::Failed);
    assert!(shared.report().contains("in the mode 'shared', blue uses the same database"), "{}", shared.report());
    assert_eq!(shared.before, shared.after);
    let mut scenario = with_database(LOSSY);
    let other = json!({"name": "worker", "ports": [], "volumes": ["data:/data"]});
    scenario.containers.push(foreign_container("web:v1", other));
    let mut given = migrating(None);
    given["image"] = json!("web:v2");
    let shared_by_another = shipped("bluegreen.rhai", given).on(scenario).run();
    assert_eq!(shared_by_another.status(), RunStatus::Failed);
    assert!(shared_by_another.report().contains("worker"), "{}", shared_by_another.report());
}

#[test]
fn a_database_that_is_not_that_of_the_running_version_stops_the_deploy_before_anything() {
    let deploy_with = |scenario: Scenario, path: &str, missing_ok: bool| {
        let mut given = migrating(None);
        given["image"] = json!("web:v2");
        given["database"]["path"] = json!(path);
        given["database"]["missing_ok"] = json!(missing_ok);
        shipped("bluegreen.rhai", given).on(scenario).run()
    };
    let typo = deploy_with(with_database(LOSSY), "ap.db", false);
    assert_eq!(typo.status(), RunStatus::Failed);
    assert!(typo.report().contains("'web' exists, but there is no database 'data:ap.db'"), "{}", typo.report());
    assert_eq!(typo.before, typo.after);
    let mut unmounted = with_database(ADDITIVE);
    unmounted.containers[0] = foreign_container("web:v1", json!({}));
    let unmounted = deploy_with(unmounted, "app.db", false);
    assert_eq!(unmounted.status(), RunStatus::Failed);
    let report = unmounted.report();
    assert!(report.contains("'web' does not mount the database 'data:app.db'"), "{report}");
    assert_eq!(unmounted.before, unmounted.after);
    let allowed = deploy_with(with_database(ADDITIVE), "new.db", true);
    assert_eq!(allowed.status(), RunStatus::Succeeded, "{}", allowed.report());
    assert_logged(&allowed, "the migration did not create 'data:new.db': check 'database.path'");
}

#[test]
fn what_is_said_about_a_kept_migration_was_observed() {
    let watch_fails = |given: Value, scenario: Scenario| {
        let mut all = given;
        all["image"] = json!("web:v2");
        all["health"] = json!({"status": [204]});
        shipped("bluegreen.rhai", all).on(scenario).run()
    };
    let added = watch_fails(migrating("shared"), with_database(ADDITIVE));
    assert_eq!(added.status(), RunStatus::Failed);
    assert_logged(
        &added,
        "the migration is not rolled back: blue uses the same database, and the migration only added to its schema",
    );
    let same_schema = watch_fails(migrating("shared"), with_database("INSERT INTO notes (id) VALUES (3)"));
    assert_logged(&same_schema, "blue uses the same database, and the migration did not change its schema");
    let mut new = with_database(ADDITIVE);
    new.volumes.get_mut("data").unwrap().databases.clear();
    new.containers.clear();
    let first = watch_fails(migrating(None), new);
    assert_logged(&first, "the migration is not rolled back: there was no database before it");
}

#[test]
fn a_rollback_warns_about_lost_data_and_restores_only_on_request() {
    // Without a backup, the script keeps a snapshot of a database that it migrates in place.
    let without_backup = || {
        let mut given = migrating("hold");
        given["image"] = json!("web:v2");
        given["database"].as_object_mut().unwrap().remove("backup");
        shipped("bluegreen.rhai", given).on(with_database(LOSSY)).run()
    };
    let deploys: [(&str, &dyn Fn() -> FinishedRun); 3] = [
        ("clone", &|| deploy(LOSSY, "clone")),
        ("hold", &|| deploy(LOSSY, "hold")),
        ("hold, no backup", &without_backup),
    ];
    for (mode, deploy) in deploys {
        let deployed = deploy();
        let kept = shipped("rollback.rhai", json!({})).in_world(deployed.world.clone()).run();
        assert_eq!(kept.status(), RunStatus::Succeeded, "{}", kept.report());
        assert_logged(&kept, "removed values from the database");
        assert_logged(&kept, "--set restore=true");
        assert_eq!(note_count(&kept), 1, "{mode}");

        let deployed = deploy();
        let restored = shipped("rollback.rhai", json!({"restore": true})).in_world(deployed.world.clone()).run();
        assert_eq!(restored.status(), RunStatus::Succeeded, "{}", restored.report());
        assert_logged(&restored, "is kept");
        assert_eq!(note_count(&restored), 2, "{mode}");
    }
}

#[test]
fn logs_go_to_a_log_group() {
    let mut given = migrating("shared");
    given["image"] = json!("web:v2");
    given["archive"] = json!({ "logs": "cloudwatch:///app/web", "keep": 1 });
    let deployed = shipped("bluegreen.rhai", given).on(with_database(ADDITIVE)).run();
    assert_eq!(deployed.status(), RunStatus::Succeeded, "{}", deployed.report());
    assert_logged(&deployed, "log of 'web' stored: cloudwatch:///app/web/web-");
    assert!(!deployed.messages().iter().any(|line| line.contains("were not deleted")));
}
