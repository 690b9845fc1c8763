//! `bluegreen.rhai` on real Docker with the manual generator. Each test checks a promise of its guide.

use crate::support;

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::apps;
use support::deployer::Deployer;
use support::forwarder::forward_engine;
use support::http;
use support::manual_app::ManualApp;
use support::steady_client::SteadyClient;
use support::until;
use support::webhook_receiver::WebhookReceiver;

const RATE: u32 = 40;
/// The port driver stops blue before the new container can publish the port. This bound is for a loaded machine; the
/// benchmarks measure the gap.
const GAP_MAX: Duration = Duration::from_secs(5);

fn hook_url(receiver: &WebhookReceiver) -> String {
    format!("http://{}/hook", receiver.address)
}

/// Waits for `count` notifications, and returns their events.
fn notified_events(receiver: &WebhookReceiver, count: usize) -> Vec<String> {
    until("notifications", || Some(receiver.received()).filter(|received| received.len() >= count))
        .iter()
        .map(|received| received.json()["event"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_first_deploy_needs_no_blue_and_the_second_replaces_it() {
    let receiver = WebhookReceiver::start();
    let mut app = ManualApp::new();
    app.tables = format!("[[notify]]\nchannel = \"webhook\"\nurl = \"{}\"\n", hook_url(&receiver));
    let v1 = apps::manual_image(&app.docker, "v1");
    app.deploy(&v1).ok();
    app.serves_alone("v1");
    assert!(app.get("/").body.contains("Getting started"), "an empty database is seeded");

    http::post(app.port, "/api/manuals", r#"{"title": "Mine"}"#).unwrap();
    let v2 = apps::manual_image(&app.docker, "v2");
    let client = SteadyClient::start(app.port, "/health", RATE);
    app.deploy(&v2).ok();
    let report = client.finish();
    app.serves_alone("v2");
    assert!(report.versions.contains_key("v1") && report.versions.contains_key("v2"), "{report:?}");
    assert!(report.longest_gap < GAP_MAX, "{report:?}");
    assert_eq!(app.get("/health").body.matches("\"manuals\": 4").count(), 1, "seeded once, and no row is lost");

    let container = app.docker.inspect(&app.service);
    let labels = &container["Config"]["Labels"];
    assert_eq!(labels["deployer.service"], *app.service);
    assert!(labels["deployer.run"].is_string() && labels["deployer.effect"].is_string(), "{labels}");

    assert_eq!(notified_events(&receiver, 4), ["started", "succeeded", "started", "succeeded"]);
}

#[test]
fn a_broken_release_is_refused_without_a_failed_request() {
    let receiver = WebhookReceiver::start();
    let mut app = ManualApp::with_v1();
    app.tables = format!("[[notify]]\nchannel = \"webhook\"\nurl = \"{}\"\n", hook_url(&receiver));
    let before = app.fingerprint();
    let client = SteadyClient::start(app.port, "/health", RATE);
    let broken = app.release("v3", "ENV HEALTH=500");
    let config = app.config(&broken).replace("timeout = \"20s\"", "timeout = \"2s\"");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    let report = client.finish();
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(app.fingerprint(), before);
    app.serves_alone("v1");
    assert_eq!(notified_events(&receiver, 2), ["started", "rolled_back"]);
}

#[test]
fn a_release_that_exits_at_start_is_refused_at_once() {
    let app = ManualApp::with_v1();
    let before = app.fingerprint();
    let exiting = app.release("v3", "ENV EXIT_AT_START=3");
    // The error shows its last log lines and its exit code.
    app.deploy(&exiting).code(1).says("EXIT_AT_START is set").says("3");
    assert_eq!(app.fingerprint(), before);
    app.serves_alone("v1");
}

#[test]
fn a_failure_after_the_cutover_restores_blue() {
    let app = ManualApp::with_v1();
    // Green is healthy beside blue. The new container on the public port, the second start, is not.
    let unhealthy = app.release("v2", "ENV SICK_START=2");
    let config = app.config(&unhealthy).replace("timeout = \"20s\"", "timeout = \"3s\"");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    app.serves_alone("v1");
    // The next release can be deployed.
    let good = app.release("v3", "");
    app.deploy(&good).ok();
    app.serves_alone("v3");
}

#[test]
fn a_damaged_database_stops_the_deploy() {
    let app = ManualApp::with_v1();
    app.damage_database();
    let before = app.fingerprint();
    let v2 = app.release("v2", "");
    app.deploy(&v2).code(1).says("manual_generator.db");
    assert_eq!(app.fingerprint(), before);
    app.serves_alone("v1");
}

#[test]
fn a_green_port_in_use_stops_the_deploy_before_any_change() {
    let app = ManualApp::with_v1();
    let before = app.fingerprint();
    let _holder = TcpListener::bind(("0.0.0.0", app.green_port)).unwrap();
    let v2 = app.release("v2", "");
    app.deploy(&v2).code(1).says(&app.green_port.to_string());
    assert_eq!(app.fingerprint(), before);
    app.serves_alone("v1");
}

#[test]
fn a_cancelled_deploy_rolls_itself_back() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let app = ManualApp::with_v1();
        let before = app.fingerprint();
        let slow = app.release("v2", "ENV SLOW_START=60");
        let running = app.start_deploy(&slow);
        app.docker.wait_for("green beside blue", Duration::from_secs(30), |docker| docker.containers(false).len() == 2);
        running.signal(signal);
        running.wait().code(130);
        assert_eq!(app.fingerprint(), before, "{signal}");
        app.serves_alone("v1");
    }
}

#[test]
fn the_journal_lists_the_effects_of_a_deploy() {
    let app = ManualApp::with_v1();
    let effects = app.deployer.latest_effects();
    for kind in ["lock", "port_free", "health_wait", "sqlite_check"] {
        assert!(effects.iter().any(|effect| effect == kind), "no {kind} in {effects:?}");
    }
    let entries = app.deployer.latest_run();
    assert_eq!(entries[0]["entry"], "run_started");
    assert_eq!(entries.last().unwrap()["entry"], "run_ended");
}

#[test]
fn a_remote_engine_checks_green_at_a_reachable_address() {
    let mut app = ManualApp::new();
    let host_address = app.docker.bridge_address();
    app.deployer = Deployer::docker().env("DOCKER_HOST", &forward_engine(&host_address));
    let v1 = apps::manual_image(&app.docker, "v1");

    // This machine cannot reach 127.0.0.1 of the remote host.
    let refused = app.deploy(&v1).code(1);
    refused.says("127.0.0.1 of another machine").says("green_address");
    assert!(app.docker.containers(true).is_empty());

    for address in ["0.0.0.0", &host_address] {
        app.settings = format!("green_address = \"{address}\"");
        app.deploy(&v1).ok();
        app.serves_alone("v1");
    }
    let effects = app.deployer.latest_effects();
    assert!(
        effects.iter().any(|kind| kind == "sqlite_check"),
        "the database on the remote host is checked: {effects:?}"
    );
}

#[test]
fn an_anonymous_volume_is_carried_over_to_the_next_release_and_back() {
    let app = ManualApp::with_v1();
    let keep = |version: &str| app.release(version, "VOLUME /keep");
    app.deploy(&keep("v2")).ok();
    app.docker.cli(&["exec", &app.service, "sh", "-c", "echo mine > /keep/file"]);
    let content = || app.docker.cli(&["exec", &app.service, "cat", "/keep/file"]);
    app.deploy(&keep("v3")).ok().says("the anonymous volume of");
    app.serves_alone("v3");
    assert_eq!(content(), "mine");
    app.docker.cli(&["exec", &app.service, "sh", "-c", "echo more >> /keep/file"]);
    app.deployer.call(&["rollback", &app.service]).ok();
    app.serves_alone("v2");
    assert_eq!(content(), "mine\nmore");
    app.deploy(&keep("v4")).ok();
    assert_eq!(content(), "mine\nmore");
    // No engine removes a volume with its container that was mounted by name.
    let mounts = app.docker.inspect(&app.service)["Mounts"].clone();
    let kept = mounts.as_array().unwrap().iter().find(|mount| mount["Destination"] == "/keep").unwrap();
    let volume = kept["Name"].as_str().unwrap();
    for id in app.docker.cli(&["ps", "--all", "--quiet", "--filter", &format!("volume={volume}")]).lines() {
        app.docker.cli(&["rm", "--force", id]);
    }
    app.docker.cli(&["volume", "rm", volume]);
}
