//! The canary script on a simulated host: a healthy canary is promoted, an unhealthy one loses its traffic.

use deployer::journal::entry::{Intent, RunStatus};
use deployer::script::source::SHIPPED;
use deployer::world::sim::{Behaviour, InitialContainer, Scenario, SimApprover, SimImage, SimResponse};
use serde_json::{Value, json};

use crate::crash::CrashPoint;
use crate::host_snapshots::difference;
use crate::shipped_deploys::PORT;
use crate::test_run::{FinishedRun, TestRun, test_run};

/// An app that answers with this body.
fn app(body: &str, page: SimResponse) -> Behaviour {
    Behaviour { response: SimResponse { body: body.into(), ..page }, ..Behaviour::default() }
}

fn page(takes_ms: u64) -> SimResponse {
    SimResponse { takes_ms, ..SimResponse::default() }
}

/// The address of the old version.
const OLD_ADDRESS: &str = "127.0.0.1:8081";

/// `web` behind a route, with this many requests per second.
pub fn site(new: SimResponse, requests_per_second: u64) -> Scenario {
    let spec = json!({
        "name": "web", "image": "web:v1", "ports": ["127.0.0.1:8081:5000"], "service": "web", "role": "live",
    });
    let mut scenario = Scenario {
        images: vec![SimImage::new("web:v1", app("v1", page(20))), SimImage::new("web:v2", app("v2", new))],
        containers: vec![InitialContainer::new(serde_json::from_value(spec).unwrap())],
        requests_per_second,
        ..Scenario::default()
    };
    let route = json!({
        "driver": "proxy",
        "route": {"service": "web", "address": format!("0.0.0.0:{PORT}"), "check": {"path": "/"}},
        "targets": [{"name": "blue", "address": "127.0.0.1:8081"}],
    });
    scenario.routes.insert("web".into(), serde_json::from_value(route).unwrap());
    scenario
}

pub fn params() -> Value {
    json!({
        "service": "web", "image": "web:v2", "traffic": {"keep_warm": "1s"},
        "steps": [{"weight": 10, "stay": "20s"}, {"weight": 50, "stay": "20s"}],
        "judge": {"patience": "20s"}, "approval": "10m",
        "notify": [{"channel": "webhook", "url": "http://hooks.test/x", "events": ["message"]}],
    })
}

fn canary(scenario: Scenario, overrides: Value) -> TestRun {
    let text = SHIPPED.iter().find(|(name, _)| *name == "canary.rhai").unwrap().1;
    let mut all = params();
    all.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
    test_run(text).on(scenario).with(all)
}

fn live_version(finished: &FinishedRun) -> String {
    finished.world.response_on_port(PORT).unwrap().response.body
}

/// Asserts that everything is as before and that the first undo moved all traffic back.
fn assert_aborted(finished: &FinishedRun, reason: &str) {
    assert_eq!(finished.status(), RunStatus::Failed, "{}", finished.report());
    assert!(finished.report().contains(reason), "{}", finished.report());
    assert_eq!(finished.before, finished.after, "{}", difference(&finished.before, &finished.after));
    assert_eq!(live_version(finished), "v1");
    let undone = finished.intents().into_iter().filter(|intent| intent.undoes.is_some());
    let traffic_undos: Vec<_> = undone.filter(|intent| intent.kind.starts_with("traffic_")).collect();
    let sends_nothing_to_new = |intent: &Intent| match intent.kind.as_str() {
        "traffic_set" => {
            let targets = intent.args["targets"].as_array().unwrap();
            targets.iter().filter(|target| target["weight"] != 0).all(|target| target["address"] == OLD_ADDRESS)
        }
        kind => kind == "traffic_route",
    };
    assert!(traffic_undos.iter().all(sends_nothing_to_new), "{traffic_undos:#?}");
}

#[test]
fn a_healthy_canary_is_promoted_without_a_restart() {
    let finished = canary(site(page(20), 100), json!({})).run();
    assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
    assert_eq!(live_version(&finished), "v2");
    assert_eq!(crate::host_snapshots::without_releases(&finished.after), ["web"]);
    let started = finished.effects().iter().filter(|effect| effect.starts_with("docker_run")).count();
    assert_eq!(started, 1, "the judged container is the one that serves");
    assert_eq!(finished.after.routes["web"].values().collect::<Vec<_>>(), [&1]);
    // The next deploy works on the result of this one.
    let next = canary(Scenario::default(), json!({"image": "web:v1"})).in_world(finished.world.clone()).run();
    assert_eq!(next.status(), RunStatus::Succeeded, "{}", next.report());
    assert_eq!(live_version(&next), "v1");
}

#[test]
fn an_unhealthy_canary_loses_its_traffic() {
    let two_percent = SimResponse { fails_every: 50, ..page(20) };
    assert_aborted(&canary(site(two_percent, 1_000), json!({})).run(), "failed requests: 2.00 %");
    assert_aborted(&canary(site(page(26), 100), json!({})).run(), "slower");
    let dead = SimResponse { fails_every: 2, ..page(20) };
    assert_aborted(&canary(site(dead, 100), json!({})).run(), "failed requests: 50.00 %");
}

#[test]
fn too_little_data_needs_an_approval() {
    let quiet = || site(page(20), 0);
    let unanswered = canary(quiet(), json!({})).run();
    assert_aborted(&unanswered, "no approval in time");
    let notifications = unanswered.world.notifications();
    let message = notifications[0].message.as_deref().unwrap();
    assert!(message.contains("the new version had 0 requests, 50 are needed"), "{message}");

    let no = SimApprover { approves: false, ..SimApprover::default() };
    assert_aborted(&canary(Scenario { approvers: vec![no], ..quiet() }, json!({})).run(), "refused by someone@here");
    let yes = SimApprover::default();
    let finished = canary(Scenario { approvers: vec![yes], ..quiet() }, json!({})).run();
    assert_eq!(finished.status(), RunStatus::Succeeded, "{}", finished.report());
    assert_eq!(live_version(&finished), "v2");
}

#[test]
fn gates_between_steps_are_enforced() {
    let steps = json!([{"weight": 50, "stay": "20s", "approve": true}]);
    assert_aborted(&canary(site(page(20), 100), json!({"steps": steps})).run(), "no approval in time");
    let yes = Scenario { approvers: vec![SimApprover::default()], ..site(page(20), 100) };
    assert_eq!(canary(yes, json!({"steps": steps})).run().status(), RunStatus::Succeeded);
    let budget = json!({"require": {"p99_ms": 10.0}});
    assert_aborted(&canary(site(page(20), 100), budget).run(), "p99");
    let path = json!({"require": {"path": "/deep"}});
    let mut unhealthy = site(page(20), 100);
    if let Some(image) = unhealthy.images.last_mut() {
        let mut behaviour = app("v2", page(20));
        behaviour.paths.insert("/deep".into(), SimResponse::status(503));
        image.behaviour = behaviour.into();
    }
    assert_aborted(&canary(unhealthy, path).run(), "was not healthy within");
}

#[test]
fn a_script_can_add_its_own_gate() {
    let text = SHIPPED.iter().find(|(name, _)| *name == "canary.rhai").unwrap().1;
    let customized = text.replace(
        "        log(`${judged.verdict}:",
        "        if judged.candidate.requests < 1000000 { fail(\"not enough for me\"); }\n        log(`${judged.verdict}:",
    );
    assert_ne!(customized, text);
    assert_aborted(&test_run(&customized).on(site(page(20), 100)).with(params()).run(), "not enough for me");
}

/// Killed while it waits for an approval: the resumed run keeps waiting and does not ask again.
#[test]
fn a_resumed_run_keeps_waiting_for_approval() {
    let ask = "params(#{}); lock(\"web\"); let answer = approval_wait(\"go on?\", #{timeout: \"10m\"}); answer.by";
    let approver = SimApprover { after_ms: 300_000, ..SimApprover::default() };
    let scenario = Scenario { approvers: vec![approver], ..Scenario::default() };
    let whole = test_run(ask).on(scenario.clone()).run();
    assert_eq!(whole.value(), "someone@here");
    for at in 1..whole.records().len() as u64 {
        for when in [CrashPoint::After(at), CrashPoint::Before(at + 1)] {
            let finished = test_run(ask).on(scenario.clone()).crash(when).run();
            let end = finished.resume();
            assert_eq!((end.status, end.value), (RunStatus::Succeeded, json!("someone@here")), "{when:?}");
            let questions = finished.effects().iter().filter(|effect| effect.starts_with("approval_wait")).count();
            assert!(questions <= 2, "{when:?}");
        }
    }
}

#[test]
fn the_example_leaves_no_target_of_a_bad_version() {
    let step = |image: &str| {
        let text = include_str!("../../examples/customised/canary_step.rhai");
        test_run(text).with(json!({"service": "web", "image": image, "stay": "20s", "patience": "20s"}))
    };
    let bad = step("web:v2").on(site(SimResponse { fails_every: 20, ..page(20) }, 100)).run();
    assert_eq!(bad.status(), RunStatus::Failed, "{}", bad.report());
    assert_eq!(bad.before, bad.after, "{}", difference(&bad.before, &bad.after));
    let again = step("web:v1").in_world(bad.world.clone()).run();
    assert_eq!(again.status(), RunStatus::Succeeded, "{}", again.report());
}
