//! Previous releases are kept as stopped containers, so that a release rollback restores image and configuration.

use std::sync::Arc;

use deployer::journal::entry::RunStatus;
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Scenario, SimImage, SimResponse, SimWorld};
use serde_json::{Value, json};

use crate::shipped_deploys::{PORT, deploys, foreign_container};
use crate::test_run::{FinishedRun, TestRun, test_run};

fn shipped(script: &str, given: Value) -> TestRun {
    let text = SHIPPED.iter().find(|(name, _)| *name == script).unwrap().1;
    let mut all = json!({"service": "web", "bake": "1s"});
    all.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    test_run(text).with(all)
}

fn host() -> Scenario {
    Scenario { containers: vec![foreign_container("web:v1", json!({}))], ..Scenario::default() }
}

#[track_caller]
fn succeeded(finished: FinishedRun) -> Arc<SimWorld> {
    assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
    finished.world
}

#[track_caller]
fn deploy(world: Arc<SimWorld>, given: Value) -> Arc<SimWorld> {
    succeeded(shipped("bluegreen.rhai", given).in_world(world).run())
}

fn answer(world: &SimWorld, port: u16) -> Option<String> {
    world.response_on_port(port).map(|answer| answer.response.body)
}

/// The names of the variables of the live container.
fn variables(world: &Arc<SimWorld>) -> Value {
    let script = test_run("docker_inspect(\"web\").environment");
    script.in_world(world.clone()).run().value().clone()
}

fn containers(world: &SimWorld) -> Vec<String> {
    world.snapshot().containers.into_keys().collect()
}

#[test]
fn a_rollback_restores_the_image_and_the_configuration() {
    let start = shipped("bluegreen.rhai", json!({"image": "web:v2", "environment": {"B": "1"}})).on(host());
    let second = succeeded(start.run());
    assert_eq!((answer(&second, PORT).as_deref(), variables(&second)), (Some("v2"), json!(["B"])));
    let back = succeeded(shipped("rollback.rhai", json!({})).in_world(second).run());
    assert_eq!((answer(&back, PORT).as_deref(), variables(&back)), (Some("v1"), json!(["A"])));
    let forward = succeeded(shipped("rollback.rhai", json!({})).in_world(back).run());
    assert_eq!((answer(&forward, PORT).as_deref(), variables(&forward)), (Some("v2"), json!(["B"])));
}

#[test]
fn a_rollback_of_the_configuration_alone_works_with_the_same_image() {
    let start = shipped("bluegreen.rhai", json!({"image": "web:v1", "environment": {"B": "1"}})).on(host());
    let back = succeeded(shipped("rollback.rhai", json!({})).in_world(succeeded(start.run())).run());
    assert_eq!(variables(&back), json!(["A"]));
}

#[test]
fn the_newest_releases_are_kept_and_each_can_be_named() {
    let mut world = succeeded(shipped("bluegreen.rhai", json!({"image": "web:v2"})).on(host()).run());
    for (image, variable) in [("web:v1", "C"), ("web:v2", "D"), ("web:v1", "E")] {
        world = deploy(world, json!({"image": image, "environment": {variable: "1"}, "keep_releases": 2}));
    }
    assert_eq!(containers(&world), ["web", "web-release-2", "web-release-3"]);
    let back = succeeded(shipped("rollback.rhai", json!({"to": "2"})).in_world(world).run());
    assert_eq!((answer(&back, PORT).as_deref(), variables(&back)), (Some("v1"), json!(["C"])));
    let unknown = shipped("rollback.rhai", json!({"to": "17"})).in_world(back).run();
    assert_eq!(unknown.status(), RunStatus::Failed);
    assert!(unknown.report().contains("deployer releases web"), "{}", unknown.report());
}

#[test]
fn without_kept_containers_a_rollback_uses_the_image() {
    let given = json!({"image": "web:v2", "environment": {"B": "1"}, "keep_releases": 0});
    let world = succeeded(shipped("bluegreen.rhai", given).on(host()).run());
    assert_eq!(containers(&world), ["web"]);
    let back = shipped("rollback.rhai", json!({})).in_world(world).run();
    assert!(back.messages().iter().any(|text| text.contains("configuration of the live container")));
    let back = succeeded(back);
    assert_eq!((answer(&back, PORT).as_deref(), variables(&back)), (Some("v1"), json!(["B"])));
}

#[test]
fn services_of_one_repository_have_their_own_previous_release() {
    let mut scenario = host();
    scenario.containers.push(foreign_container("web:v1", json!({"name": "stage", "ports": ["8090:5000"]})));
    let stage = json!({"service": "stage", "image": "web:v2", "port": 8090, "green_port": 8091});
    let world = succeeded(shipped("bluegreen.rhai", stage).on(scenario).run());
    assert_eq!(answer(&world, 8090).as_deref(), Some("v2"));
    let refused = shipped("rollback.rhai", json!({})).in_world(world.clone()).run();
    assert_eq!(refused.status(), RunStatus::Failed, "`web` has no previous release: {}", refused.report());
    assert_eq!(answer(&world, PORT).as_deref(), Some("v1"));
    let back = succeeded(shipped("rollback.rhai", json!({"service": "stage"})).in_world(world).run());
    assert_eq!((answer(&back, 8090).as_deref(), answer(&back, PORT).as_deref()), (Some("v1"), Some("v1")));
}

#[test]
fn a_rollback_uses_the_health_check_of_the_release() {
    let mut scenario = host();
    for name in ["web:v3", "web:v4"] {
        let mut image = SimImage::new(name, Default::default());
        let response = SimResponse { status: 401, body: name.into(), ..SimResponse::default() };
        Arc::make_mut(&mut image.behaviour).response = response;
        scenario.images.push(image);
    }
    let given = |image: &str| json!({"image": image, "health": {"path": "/login", "status": [401, 403]}});
    let third = succeeded(shipped("bluegreen.rhai", given("web:v3")).on(scenario).run());
    let fourth = deploy(third, given("web:v4"));
    let back = succeeded(shipped("rollback.rhai", json!({})).in_world(fourth).run());
    assert_eq!(answer(&back, PORT).as_deref(), Some("web:v3"));
}

#[test]
fn a_container_that_the_engine_would_start_again_is_not_kept() {
    let mut scenario = host();
    scenario.containers = vec![foreign_container("web:v1", json!({"restart": "always"}))];
    let world = succeeded(shipped("bluegreen.rhai", json!({"image": "web:v2"})).on(scenario).run());
    assert_eq!(containers(&world), ["web"]);
    let back = succeeded(shipped("rollback.rhai", json!({})).in_world(world).run());
    assert_eq!(answer(&back, PORT).as_deref(), Some("v1"));
}

/// Releases alternate between two ports, so that an old one has the port of a target.
#[test]
fn old_releases_behind_a_route_are_removed_without_a_warning() {
    let deploy = deploys().into_iter().find(|deploy| deploy.name == "routed").unwrap();
    let mut finished = deploy.test_run().run();
    let mut given = deploy.params.clone();
    given["keep_releases"] = json!(2);
    for _ in 0..4 {
        finished = deploy.test_run().with(given.clone()).in_world(finished.world).run();
        assert!(!finished.messages().iter().any(|text| text.contains("was not removed")), "{:?}", finished.messages());
    }
    let kept = finished.after.containers.keys().collect::<Vec<_>>();
    assert_eq!(kept, ["web", "web-release-3", "web-release-4"]);
    let back = shipped("rollback.rhai", json!({})).in_world(finished.world).run();
    assert!(!back.messages().iter().any(|text| text.contains("was not removed")), "{:?}", back.messages());
    assert_eq!(containers(&succeeded(back)), ["web", "web-release-3", "web-release-5"]);
}
