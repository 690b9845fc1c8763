//! Ctrl-C and SIGTERM at any moment: the run is rolled back, and a second signal stops it at once.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::service::Service;
use crate::support::deployer::Deployer;

/// The limit from the signal to the end, on a loaded machine. Without the signal, the run would take much longer.
const CANCEL_LIMIT: Duration = Duration::from_secs(60);

/// Sends a signal to a deploy of v2 at the intent of this effect, and asserts that v1 continues to serve.
fn assert_rolled_back_at(kind: &str, signal: Signal, v1: &str, v2: &str, sets: &[&str]) {
    let service = Service::with_v1(v1);
    let config = service.config("v2", v2);
    let mut args = vec!["--config", &config];
    args.extend(sets.iter().flat_map(|set| ["--set", set]));
    let mut run = service.deployer.watch_run("bluegreen.rhai", &args);
    run.until_intended(kind);
    let sent = Instant::now();
    run.signal(signal);
    let finished = run.wait().code(130);
    assert!(sent.elapsed() < CANCEL_LIMIT, "{kind}: {:?}", sent.elapsed());
    assert!(finished.stdout.lines().last().unwrap().contains("\"status\":\"cancelled\""), "{}", finished.stdout);
    service.serves_alone("v1");
    assert_eq!(service.files_in("locks"), [""; 0]);
    service.deploy("v3", "").ok();
    service.serves_alone("v3");
}

#[test]
fn during_the_build() {
    assert_rolled_back_at("docker_build", Signal::SIGINT, "", "", &[]);
}

#[test]
fn during_the_health_check_of_green() {
    assert_rolled_back_at("health_wait", Signal::SIGTERM, "", "STATUS = \"500\"", &["health.timeout=10m"]);
}

#[test]
fn while_blue_stops_slowly() {
    assert_rolled_back_at("docker_stop", Signal::SIGINT, "SLOW_STOP = \"2\"", "", &[]);
}

#[test]
fn during_the_bake() {
    assert_rolled_back_at("sleep", Signal::SIGTERM, "", "", &["bake=10m"]);
}

#[test]
fn a_second_signal_stops_at_once_and_abort_finishes() {
    let service = Service::with_v1("SLOW_STOP = \"30\"");
    let mut run = service.watch("v2", "");
    run.until_intended("docker_stop");
    let id = run.id();
    let sent = Instant::now();
    // Two signals at the same time may count as one, so the second is sent repeatedly.
    let finished = run.wait_signalling(Signal::SIGTERM).code(5);
    assert!(sent.elapsed() < CANCEL_LIMIT, "{:?}", sent.elapsed());
    assert!(finished.stderr.contains("deployer abort"), "{}", finished.stderr);
    service.deploy("v3", "").code(5).says(&format!("deployer abort {id}"));
    service.deployer.call(&["abort", &id]).ok();
    service.serves_alone("v1");
}

#[test]
fn a_run_is_rolled_back_at_its_timeout() {
    let service = Service::with_v1("");
    let config = service.config("v2", "STATUS = \"500\"");
    let args = ["--config", &config, "--set", "health.timeout=10m", "--timeout", "1s"];
    let finished = service.deployer.run("bluegreen.rhai", &args).code(130);
    assert!(finished.stderr.contains("time limit reached: rolling back"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("rolling back: the run was cancelled at its time limit: --timeout 1s"),
        "{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("all changes rolled back"), "{}", finished.stderr);
    service.serves_alone("v1");
    assert_eq!(service.files_in("locks"), [""; 0]);
}

#[test]
fn a_run_succeeds_within_its_timeout() {
    let service = Service::new();
    let config = service.config("v1", "");
    service.deployer.run("bluegreen.rhai", &["--config", &config, "--timeout", "1h"]).ok();
    service.serves_alone("v1");
}

#[test]
fn a_signal_stops_an_endless_script() {
    let deployer = Deployer::local();
    let script = deployer.file("busy.rhai", "print(\"on my way\"); loop { }");
    let mut run = deployer.watch_run(&script, &[]);
    run.until("the script", |event| event["text"] == "on my way");
    run.signal(Signal::SIGINT);
    run.wait().code(130);
}
