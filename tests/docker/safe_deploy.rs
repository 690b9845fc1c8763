//! `safe_deploy.rhai` and `rollback.rhai` on real Docker with the logo detection API in a real git repository.

use crate::support;

use std::thread;

use support::deployer::Deployer;
use support::forwarder::forward_engine;
use support::http;
use support::logo_app::LogoApp;

#[test]
fn git_decides_between_a_new_image_a_restart_and_nothing() {
    let logo = LogoApp::new();
    let first = logo.release("v1");
    logo.deploy(&[]).ok().says("rebuild");
    logo.serves_alone("v1");
    let image = logo.docker.image_of(&logo.service);
    assert_eq!(logo.docker.inspect(&image)["Config"]["Labels"]["deployer.commit"], *first);

    // Only documentation: the container is not changed.
    let before = logo.container_id();
    logo.repo.write("docs/api.md", "A better text.");
    logo.repo.commit("Improve the documentation");
    logo.deploy(&[]).ok().says("nothing");
    assert_eq!(logo.container_id(), before);

    // A setting: a new container from the same image.
    logo.repo.write("config/settings.json", r#"{"log_level": "debug"}"#);
    logo.repo.commit("Log more");
    logo.deploy(&["environment.MAX_CONCURRENT_DETECTIONS=8"]).ok().says("restart");
    assert_ne!(logo.container_id(), before);
    assert_eq!(logo.docker.image_of(&logo.service), image);
    assert!(http::get(logo.port, "/api/v1/health").unwrap().body.contains("\"max_concurrent_detections\": 8"));

    // Code: a new image, and the old one gets a rollback tag.
    logo.release("v2");
    logo.deploy(&[]).ok().says("rebuild");
    logo.serves_alone("v2");
    assert_ne!(logo.docker.image_of(&logo.service), image);
    assert_eq!(logo.docker.inspect(&format!("{}:rollback", logo.service))["Id"], *image);
}

#[test]
fn the_old_container_finishes_requests_in_flight() {
    let logo = LogoApp::new();
    logo.release("v1");
    logo.deploy(&[]).ok();
    logo.release("v2");
    let port = logo.port;
    let slow = thread::spawn(move || http::get(port, "/api/v1/detect?text=rust&seconds=4"));
    logo.deploy(&[]).ok();
    let reply = slow.join().unwrap().expect("the request was not cut off");
    assert_eq!((reply.status, reply.version.as_str()), (200, "v1"));
    logo.serves_alone("v2");
}

#[test]
fn a_broken_release_leaves_the_old_one_in_place() {
    let logo = LogoApp::new();
    logo.release("v1");
    logo.deploy(&[]).ok();
    let before = logo.container_id();
    logo.release("v2");
    logo.deploy(&["environment.HEALTH=500", "health.timeout=2s"]).code(1);
    assert_eq!(logo.container_id(), before);
    logo.serves_alone("v1");
}

#[test]
fn rollback_restores_the_previous_release_or_a_given_one() {
    let logo = LogoApp::new();
    let commits: Vec<_> = ["v1", "v2", "v3"]
        .map(|version| {
            let commit = logo.release(version);
            logo.deploy(&[]).ok();
            commit
        })
        .into();
    logo.serves_alone("v3");
    let service = format!("service={}", logo.service);
    let rollback = |more: &[&str]| {
        let mut args = vec!["--set", &service, "--set", "health.path=/api/v1/health", "--set", "bake=200ms"];
        args.extend(more);
        logo.deployer.run("rollback.rhai", &args)
    };
    rollback(&[]).ok();
    logo.serves_alone("v2");
    let environment = &logo.docker.inspect(&logo.service)["Config"]["Env"];
    assert!(
        environment.to_string().contains("MAX_CONCURRENT_DETECTIONS=4"),
        "created with the settings of the previous release: {environment}"
    );
    // A second rollback goes forward again. A tag selects any release.
    rollback(&[]).ok();
    logo.serves_alone("v3");
    let tags = logo.docker.cli(&["images", "--format", "{{.Tag}}", &logo.service]);
    let tag = tags.lines().find(|tag| commits[0].starts_with(tag)).expect("the first release's tag");
    rollback(&["--set", &format!("to={tag}")]).ok();
    logo.serves_alone("v1");
    rollback(&["--set", "to=nowhere"]).code(1).says("nowhere");
    logo.serves_alone("v1");
}

#[test]
fn a_remote_engine_builds_deploys_and_rolls_back() {
    let mut logo = LogoApp::new();
    let host_address = logo.docker.bridge_address();
    logo.deployer = Deployer::docker().env("DOCKER_HOST", &forward_engine(&host_address));
    for version in ["v1", "v2"] {
        logo.release(version);
        logo.deploy(&[&format!("new_address={host_address}")]).ok();
        logo.serves_alone(version);
    }
    let service = format!("service={}", logo.service);
    let health = "health.path=/api/v1/health";
    logo.deployer.run("rollback.rhai", &["--set", &service, "--set", health, "--set", "bake=200ms"]).ok();
    logo.serves_alone("v1");
}
