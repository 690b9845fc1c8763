//! `bluegreen.rhai` on real Docker with the manual generator: what its guide promises, one test each.

mod support;

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::apps;
use support::deployer::Deployer;
use support::forwarder::forward_engine;
use support::http;
use support::scene::Scene;
use support::until;
use support::visitor::Visitor;
use support::webhook_receiver::WebhookReceiver;

const RATE: u32 = 40;
/// The port driver stops blue before its twin can have the port. This is a bound for a loaded machine; the
/// benchmarks measure the gap.
const GAP_MAX: Duration = Duration::from_secs(5);

fn hook(receiver: &WebhookReceiver) -> String {
    format!("http://{}/hook", receiver.address)
}

/// The events that the receiver was told of, once there are `count`.
fn told(receiver: &WebhookReceiver, count: usize) -> Vec<String> {
    until("notifications", || Some(receiver.received()).filter(|received| received.len() >= count))
        .iter()
        .map(|received| received.json()["event"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_first_deploy_needs_no_blue_and_the_second_replaces_it() {
    let receiver = WebhookReceiver::start();
    let mut scene = Scene::new();
    scene.tables = format!("[[notify]]\nchannel = \"webhook\"\nurl = \"{}\"\n", hook(&receiver));
    let v1 = apps::manual(&scene.docker, "v1");
    scene.deploy(&v1).ok();
    scene.serves_alone("v1");
    assert!(scene.get("/").body.contains("Getting started"), "an empty database is seeded");

    http::post(scene.port, "/api/manuals", r#"{"title": "Mine"}"#).unwrap();
    let v2 = apps::manual(&scene.docker, "v2");
    let visitor = Visitor::start(scene.port, "/health", RATE);
    scene.deploy(&v2).ok();
    let seen = visitor.finish();
    scene.serves_alone("v2");
    assert!(seen.versions.contains_key("v1") && seen.versions.contains_key("v2"), "{seen:?}");
    assert!(seen.longest_gap < GAP_MAX, "{seen:?}");
    assert_eq!(scene.get("/health").body.matches("\"manuals\": 4").count(), 1, "seeded once, and nothing lost");

    let container = scene.docker.inspect(&scene.service);
    let labels = &container["Config"]["Labels"];
    assert_eq!(labels["deployer.service"], *scene.service);
    assert!(labels["deployer.run"].is_string() && labels["deployer.effect"].is_string(), "{labels}");

    assert_eq!(told(&receiver, 4), ["started", "succeeded", "started", "succeeded"]);
}

#[test]
fn a_broken_release_is_refused_and_no_visitor_notices() {
    let receiver = WebhookReceiver::start();
    let mut scene = Scene::with_v1();
    scene.tables = format!("[[notify]]\nchannel = \"webhook\"\nurl = \"{}\"\n", hook(&receiver));
    let before = scene.fingerprint();
    let visitor = Visitor::start(scene.port, "/health", RATE);
    let broken = scene.release("v3", "ENV HEALTH=500");
    let config = scene.config(&broken).replace("timeout = \"20s\"", "timeout = \"2s\"");
    scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    let seen = visitor.finish();
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert_eq!(scene.fingerprint(), before);
    scene.serves_alone("v1");
    assert_eq!(told(&receiver, 2), ["started", "rolled_back"]);
}

#[test]
fn a_release_that_dies_at_start_is_refused_at_once() {
    let scene = Scene::with_v1();
    let before = scene.fingerprint();
    let dying = scene.release("v3", "ENV EXIT_AT_START=3");
    // Its last words and its exit code are the explanation.
    scene.deploy(&dying).code(1).says("EXIT_AT_START is set").says("3");
    assert_eq!(scene.fingerprint(), before);
    scene.serves_alone("v1");
}

#[test]
fn a_failure_after_the_cutover_brings_blue_back() {
    let scene = Scene::with_v1();
    // Green is healthy beside blue; its twin on the public port, the second start, is not.
    let sick = scene.release("v2", "ENV SICK_START=2");
    let config = scene.config(&sick).replace("timeout = \"20s\"", "timeout = \"3s\"");
    scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    scene.serves_alone("v1");
    // Nothing is in the way of the next release.
    let good = scene.release("v3", "");
    scene.deploy(&good).ok();
    scene.serves_alone("v3");
}

#[test]
fn a_damaged_database_stops_the_deploy() {
    let scene = Scene::with_v1();
    scene.damage_database();
    let before = scene.fingerprint();
    let v2 = scene.release("v2", "");
    scene.deploy(&v2).code(1).says("manual_generator.db");
    assert_eq!(scene.fingerprint(), before);
    scene.serves_alone("v1");
}

#[test]
fn a_taken_green_port_stops_the_deploy_before_anything_is_done() {
    let scene = Scene::with_v1();
    let before = scene.fingerprint();
    let _holder = TcpListener::bind(("0.0.0.0", scene.green_port)).unwrap();
    let v2 = scene.release("v2", "");
    scene.deploy(&v2).code(1).says(&scene.green_port.to_string());
    assert_eq!(scene.fingerprint(), before);
    scene.serves_alone("v1");
}

#[test]
fn an_interrupted_deploy_takes_itself_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let scene = Scene::with_v1();
        let before = scene.fingerprint();
        let slow = scene.release("v2", "ENV SLOW_START=60");
        let running = scene.start_deploy(&slow);
        scene
            .docker
            .wait_for("green beside blue", Duration::from_secs(30), |docker| docker.containers(false).len() == 2);
        running.signal(signal);
        running.wait().code(130);
        assert_eq!(scene.fingerprint(), before, "{signal}");
        scene.serves_alone("v1");
    }
}

#[test]
fn the_history_tells_what_was_done() {
    let scene = Scene::with_v1();
    let effects = scene.deployer.latest_effects();
    for kind in ["lock", "port_free", "health_wait", "sqlite_check"] {
        assert!(effects.iter().any(|effect| effect == kind), "no {kind} in {effects:?}");
    }
    let entries = scene.deployer.latest_run();
    assert_eq!(entries[0]["entry"], "run_started");
    assert_eq!(entries.last().unwrap()["entry"], "run_ended");
}

#[test]
fn a_distant_engine_proves_green_where_it_can_be_reached() {
    let mut scene = Scene::new();
    let here = scene.docker.bridge_address();
    scene.deployer = Deployer::docker().env("DOCKER_HOST", &forward_engine(&here));
    let v1 = apps::manual(&scene.docker, "v1");

    // Over there, 127.0.0.1 is nobody whom this machine can ask.
    let refused = scene.deploy(&v1).code(1);
    refused.says("127.0.0.1 of another machine").says("green_address");
    assert!(scene.docker.containers(true).is_empty());

    for address in ["0.0.0.0", &here] {
        scene.settings = format!("green_address = \"{address}\"");
        scene.deploy(&v1).ok();
        scene.serves_alone("v1");
    }
    let asked = scene.deployer.latest_effects();
    assert!(asked.iter().any(|kind| kind == "sqlite_check"), "the database is looked at over there: {asked:?}");
}
