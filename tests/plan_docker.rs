//! A plan on real Docker: what it says is what the run then asks for, and nothing was touched by it.

mod support;

use support::apps;
use support::planned::{asked_for, planned, steps};
use support::scene::Scene;

#[test]
fn a_plan_is_what_the_run_does() {
    let scene = Scene::with_v1();
    let v2 = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("deploy.toml", &scene.config(&v2));
    let before = scene.fingerprint();
    let plan = planned(&scene.deployer, "bluegreen.rhai", &["--config", &config], 10);
    assert_eq!(scene.fingerprint(), before, "a plan changes nothing");
    assert!(plan["downtime_ms"].as_u64().unwrap() > 0, "{plan}");
    scene.deployer.run("bluegreen.rhai", &["--config", &config]).ok();
    assert_eq!(steps(&plan), asked_for(&scene.deployer));
    scene.serves_alone("v2");
}

#[test]
fn whoever_does_not_agree_with_the_plan_gets_nothing_done() {
    let scene = Scene::with_v1();
    let v2 = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("deploy.toml", &scene.config(&v2));
    let before = scene.fingerprint();
    // Standard input is empty here: nobody answers.
    scene.deployer.call(&["run", "bluegreen.rhai", "--plan-first", "--config", &config]).code(2).says("nobody answers");
    assert_eq!(scene.fingerprint(), before);
}
