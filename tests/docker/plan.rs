//! Plans on real Docker. A plan lists exactly the changes of the run after it, and changes nothing itself.

use crate::support;

use support::apps;
use support::manual_app::ManualApp;
use support::plans::{intended_changes, plan_json, planned_changes};

#[test]
fn a_plan_lists_the_changes_of_the_run() {
    let app = ManualApp::with_v1();
    let v2 = apps::manual_image(&app.docker, "v2");
    let config = app.deployer.file("deploy.toml", &app.config(&v2));
    let before = app.fingerprint();
    let plan = plan_json(&app.deployer, "bluegreen.rhai", &["--config", &config], 10);
    assert_eq!(app.fingerprint(), before, "a plan changes nothing");
    assert!(plan["downtime_ms"].as_u64().unwrap() > 0, "{plan}");
    app.deployer.run("bluegreen.rhai", &["--config", &config]).ok();
    assert_eq!(planned_changes(&plan), intended_changes(&app.deployer));
    app.serves_alone("v2");
}

#[test]
fn a_plan_that_is_not_confirmed_changes_nothing() {
    let app = ManualApp::with_v1();
    let v2 = apps::manual_image(&app.docker, "v2");
    let config = app.deployer.file("deploy.toml", &app.config(&v2));
    let before = app.fingerprint();
    // Standard input is empty, so the question gets no answer.
    app.deployer
        .call(&["run", "bluegreen.rhai", "--plan-first", "--config", &config])
        .code(2)
        .says("no answer to `continue?`");
    assert_eq!(app.fingerprint(), before);
}
