//! `status` and `gc` on real Docker. `status` reports the state of the engine even with an empty state folder; `gc` removes
//! only objects that deployer created.

use crate::support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::apps;
use support::deployer::{Deployer, Finished};
use support::git_repo::GitRepo;
use support::manual_app::ManualApp;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command with an empty state folder, as on another machine.
fn run_on_another_machine(args: &[&str]) -> Finished {
    let fresh = Deployer::docker();
    let finished = fresh.call(args);
    assert!(!fresh.state().exists(), "a query creates no state folder");
    finished
}

fn status_json(app: &ManualApp, code: i32) -> Value {
    let finished = run_on_another_machine(&["status", &app.service, "--format", "json"]).code(code);
    serde_json::from_str(&finished.stdout).unwrap()
}

fn roles(status: &Value) -> Vec<(String, String)> {
    let instances = status["services"][0]["instances"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    instances.iter().map(|instance| (text(&instance["role"]), text(&instance["name"]))).collect()
}

/// Lets deployer build `tag` from a new repository and deploy it, and returns the commit.
#[track_caller]
fn build_and_deploy(app: &ManualApp, tag: &str) -> String {
    let repo = GitRepo::of(&apps::example("manual-generator"));
    repo.write("RELEASE", tag);
    let commit = repo.commit(tag);
    let image = format!("{}:{tag}", app.service);
    let build = format!("build = \"{}\"\nimage =", repo.path().display());
    let args = format!("[build_args]\nAPP_VERSION = \"{tag}\"\n[environment]");
    let config = app.config(&image).replacen("image =", &build, 1).replacen("[environment]", &args, 1);
    app.deployer.deploy("bluegreen.rhai", &config).ok();
    commit
}

#[track_caller]
fn gc(app: &ManualApp, rest: &[&str]) -> Finished {
    let mut args = vec!["gc", "--engine", "docker", "--service", &app.service];
    args.extend(rest);
    app.deployer.call(&args)
}

#[test]
fn any_machine_sees_the_live_version_after_a_deploy_and_a_rollback() {
    let app = ManualApp::new();
    let first = build_and_deploy(&app, "v1");
    let second = build_and_deploy(&app, "v2");
    let status = status_json(&app, 0);
    let live = &status["services"][0]["instances"][0];
    let kept = format!("{}-release-1", app.service);
    assert_eq!(roles(&status), [("live".to_owned(), app.service.clone()), ("old".to_owned(), kept)]);
    assert_eq!(live["image"], format!("{}:v2", app.service));
    assert_eq!(live["commit"], second);
    assert_eq!(live["published"][0], format!("0.0.0.0:{}->5000/tcp", app.port));
    assert_eq!(live["run"], app.deployer.latest_run()[0]["run"]);

    let service = format!("service={}", app.service);
    let rollback = ["--set", &service, "--set", "health.path=/health", "--set", "bake=200ms", "--set", "drain=2s"];
    app.deployer.run("rollback.rhai", &rollback).ok();
    let status = status_json(&app, 0);
    let live = &status["services"][0]["instances"][0];
    assert!(live["release"].as_array().unwrap().contains(&format!("{}:v1", app.service).into()), "{live}");
    assert_eq!(live["commit"], first);
    app.serves_alone("v1");
}

#[test]
fn a_killed_deploy_is_reported_and_gc_keeps_the_live_container() {
    let mut app = ManualApp::with_v1();
    app.settings = "restart = \"no\"".into();
    let slow = app.release("v2", "ENV SLOW_START=60");
    let running = app.start_deploy(&slow);
    app.docker.wait_for("green beside blue", TIMEOUT, |docker| docker.containers(false).len() == 2);
    let busy = status_json(&app, 0);
    assert_eq!(roles(&busy)[1], ("candidate".to_owned(), format!("{}-green", app.service)), "{busy}");
    gc(&app, &["--yes"]).ok().says("left alone");
    running.signal(Signal::SIGKILL);
    running.wait();

    // With the journal, `status` adds the commands to type, and `gc` keeps the containers until then.
    let here = ["status", &app.service, "--engine", "docker"];
    app.deployer.call(&here).code(1).says("was interrupted: `deployer resume").says("deployer abort");
    gc(&app, &["--yes"]).ok().says("left alone").says("deployer abort");
    assert_eq!(app.docker.containers(false).len(), 2);

    // Without the journal, `status` still reports the leftovers, and that the holder of the lock is dead.
    let status = status_json(&app, 1);
    assert_eq!(roles(&status)[0], ("live".to_owned(), app.service.clone()), "{status}");
    assert_eq!(roles(&status)[1].0, "left_over");
    assert_eq!(status["services"][0]["lock"]["state"], "dead");
    let fresh = Deployer::docker();
    fresh.call(&["gc", "--service", &app.service, "--yes"]).ok();
    app.serves_alone("v1");
    let status = status_json(&app, 0);
    assert_eq!(status["services"][0]["lock"], Value::Null);
    fresh.call(&["gc", "--service", &app.service, "--yes"]).ok().says("nothing to remove");
}

#[test]
fn gc_removes_old_images_and_keeps_foreign_objects() {
    let app = ManualApp::new();
    for tag in ["v1", "v2", "v3"] {
        build_and_deploy(&app, tag);
    }
    let docker = &app.docker;
    let (image, service) = (format!("{}:v3", app.service), &app.service);
    // Created by hand from an image that deployer built: it inherits the labels, but deployer did not create it.
    let by_hand = docker.name("byhand");
    docker.cli(&["create", "--name", &by_hand, &image, "true"]);
    let child = docker.derive(&image, "child", "ENV MINE=1");
    let orphan = docker.name("foreign");
    docker.cli(&["volume", "create", &orphan]);
    docker.cli(&["network", "create", &orphan]);
    let script = format!(
        "let mine = #{{\"deployer.service\": \"{service}\"}};\n\
         network_create(\"{service}-net\", #{{labels: mine}});\n\
         volume_create(#{{name: \"{service}-data\", service: \"{service}\"}});\n\
         mine[\"deployer.role\"] = \"scratch\";\n\
         volume_create(#{{name: \"{service}-scratch\", labels: mine}});\n"
    );
    let file = app.deployer.file("objects.rhai", &script);
    app.deployer.run(&file, &[]).ok();

    let listed = gc(&app, &[]).ok();
    assert!(!docker.cli(&["images", "-q", &format!("{service}:v1")]).is_empty(), "without `--yes`, nothing is removed");
    let listed = listed.says(&format!("{service}:v1")).says("-net").says("-scratch").stdout;
    for kept in ["byhand", "foreign", ":child", "-data", ":v2", ":v3", "rollback"] {
        assert!(!listed.contains(kept), "{kept} in\n{listed}");
    }
    gc(&app, &["--yes"]).ok();
    let images = docker.cli(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for (name, exists) in [("v1", false), ("v2", true), ("v3", true), ("rollback", true), ("child", true)] {
        assert_eq!(images.lines().any(|line| line == format!("{service}:{name}")), exists, "{name}: {images}");
    }
    let volumes = docker.cli(&["volume", "ls", "-q"]);
    let has = |name: &str| volumes.lines().any(|line| line == name);
    assert!(has(&orphan) && has(&format!("{service}-data")) && has(&app.volume));
    assert!(!has(&format!("{service}-scratch")));
    let networks = docker.cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(networks.contains(&orphan) && !networks.contains(&format!("{service}-net")));
    docker.inspect(&by_hand);
    docker.inspect(&child);
    gc(&app, &["--yes"]).ok().says("nothing to remove");

    gc(&app, &["--yes", "--volumes"]).ok().says("data would be lost");
    let volumes = docker.cli(&["volume", "ls", "-q"]);
    assert!(volumes.lines().any(|line| line == app.volume), "the volume of the live container is always kept");
    app.get("/health");
}
