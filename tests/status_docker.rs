//! `status` and `gc` on real Docker: the truth of the engine from an empty state folder, and nobody else's things gone.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::apps;
use support::deployer::{Deployer, Finished};
use support::git_repo::GitRepo;
use support::scene::Scene;

const PATIENCE: Duration = Duration::from_secs(60);

/// `deployer VERB` as another machine would say it: with a state folder that is empty.
fn elsewhere(args: &[&str]) -> Finished {
    let fresh = Deployer::docker();
    let finished = fresh.call(args);
    assert!(!fresh.state().exists(), "looking leaves nothing behind");
    finished
}

fn standing(scene: &Scene, code: i32) -> Value {
    let said = elsewhere(&["status", &scene.service, "--format", "json"]).code(code);
    serde_json::from_str(&said.stdout).unwrap()
}

fn roles(standing: &Value) -> Vec<(String, String)> {
    let instances = standing["services"][0]["instances"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    instances.iter().map(|instance| (text(&instance["role"]), text(&instance["name"]))).collect()
}

/// Deploys `tag`, built by deployer itself from a repository of its own, and returns the commit.
#[track_caller]
fn build_and_deploy(scene: &Scene, tag: &str) -> String {
    let repo = GitRepo::of(&apps::example("manual-generator"));
    repo.write("RELEASE", tag);
    let commit = repo.commit(tag);
    let image = format!("{}:{tag}", scene.service);
    let build = format!("build = \"{}\"\nimage =", repo.path().display());
    let args = format!("[build_args]\nAPP_VERSION = \"{tag}\"\n[environment]");
    let config = scene.config(&image).replacen("image =", &build, 1).replacen("[environment]", &args, 1);
    scene.deployer.deploy("bluegreen.rhai", &config).ok();
    commit
}

#[track_caller]
fn gc(scene: &Scene, rest: &[&str]) -> Finished {
    let mut args = vec!["gc", "--engine", "docker", "--service", &scene.service];
    args.extend(rest);
    scene.deployer.call(&args)
}

#[test]
fn after_a_deploy_and_a_rollback_any_machine_sees_who_serves() {
    let scene = Scene::new();
    let first = build_and_deploy(&scene, "v1");
    let second = build_and_deploy(&scene, "v2");
    let found = standing(&scene, 0);
    let live = &found["services"][0]["instances"][0];
    assert_eq!(roles(&found), [("live".to_owned(), scene.service.clone())]);
    assert_eq!(live["image"], format!("{}:v2", scene.service));
    assert_eq!(live["commit"], second);
    assert_eq!(live["published"][0], format!("0.0.0.0:{}->5000/tcp", scene.port));
    assert_eq!(live["run"], scene.deployer.latest_run()[0]["run"]);

    let service = format!("service={}", scene.service);
    let rollback = ["--set", &service, "--set", "health.path=/health", "--set", "bake=200ms", "--set", "drain=2s"];
    scene.deployer.run("rollback.rhai", &rollback).ok();
    let found = standing(&scene, 0);
    let live = &found["services"][0]["instances"][0];
    assert!(live["release"].as_array().unwrap().contains(&format!("{}:v1", scene.service).into()), "{live}");
    assert_eq!(live["commit"], first);
    scene.serves_alone("v1");
}

#[test]
fn a_killed_deploy_is_told_of_and_the_live_one_is_never_touched() {
    let mut scene = Scene::with_v1();
    scene.settings = "restart = \"no\"".into();
    let slow = scene.release("v2", "ENV SLOW_START=60");
    let running = scene.start_deploy(&slow);
    scene.docker.wait_for("green beside blue", PATIENCE, |docker| docker.containers(false).len() == 2);
    let busy = standing(&scene, 0);
    assert_eq!(roles(&busy)[1], ("candidate".to_owned(), format!("{}-green", scene.service)), "{busy}");
    gc(&scene, &["--yes"]).ok().says("left alone");
    running.signal(Signal::SIGKILL);
    running.wait();

    // Where the journal is, it adds what to type; gc waits for that.
    let here = ["status", &scene.service, "--engine", "docker"];
    scene.deployer.call(&here).code(1).says("was killed: `deployer resume").says("deployer abort");
    gc(&scene, &["--yes"]).ok().says("left alone").says("deployer abort");
    assert_eq!(scene.docker.containers(false).len(), 2);

    // Where it is not, what is left over is seen all the same, and its lock's holder is known to be gone.
    let found = standing(&scene, 1);
    assert_eq!(roles(&found)[0], ("live".to_owned(), scene.service.clone()), "{found}");
    assert_eq!(roles(&found)[1].0, "left_over");
    assert_eq!(found["services"][0]["lock"]["state"], "dead");
    let fresh = Deployer::docker();
    fresh.call(&["gc", "--service", &scene.service, "--yes"]).ok();
    scene.serves_alone("v1");
    let found = standing(&scene, 0);
    assert_eq!(found["services"][0]["lock"], Value::Null);
    fresh.call(&["gc", "--service", &scene.service, "--yes"]).ok().says("nothing to remove");
}

#[test]
fn gc_removes_old_images_and_leaves_what_others_made() {
    let scene = Scene::new();
    for tag in ["v1", "v2", "v3"] {
        build_and_deploy(&scene, tag);
    }
    let docker = &scene.docker;
    let (image, service) = (format!("{}:v3", scene.service), &scene.service);
    // By hand, from an image of deployer's: carries its labels, and is still not deployer's.
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
    let file = scene.deployer.file("places.rhai", &script);
    scene.deployer.run(&file, &[]).ok();

    let listed = gc(&scene, &[]).ok();
    assert!(!docker.cli(&["images", "-q", &format!("{service}:v1")]).is_empty(), "listing removes nothing");
    let listed = listed.says(&format!("{service}:v1")).says("-net").says("-scratch").stdout;
    for kept in ["byhand", "foreign", ":child", "-data", ":v2", ":v3", "rollback"] {
        assert!(!listed.contains(kept), "{kept} in\n{listed}");
    }
    gc(&scene, &["--yes"]).ok();
    let images = docker.cli(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for (name, there) in [("v1", false), ("v2", true), ("v3", true), ("rollback", true), ("child", true)] {
        assert_eq!(images.lines().any(|line| line == format!("{service}:{name}")), there, "{name}: {images}");
    }
    let volumes = docker.cli(&["volume", "ls", "-q"]);
    let has = |name: &str| volumes.lines().any(|line| line == name);
    assert!(has(&orphan) && has(&format!("{service}-data")) && has(&scene.volume));
    assert!(!has(&format!("{service}-scratch")));
    let networks = docker.cli(&["network", "ls", "--format", "{{.Name}}"]);
    assert!(networks.contains(&orphan) && !networks.contains(&format!("{service}-net")));
    docker.inspect(&by_hand);
    docker.inspect(&child);
    gc(&scene, &["--yes"]).ok().says("nothing to remove");

    gc(&scene, &["--yes", "--volumes"]).ok().says("data would be gone");
    let volumes = docker.cli(&["volume", "ls", "-q"]);
    assert!(volumes.lines().any(|line| line == scene.volume), "the live one's data stays whatever is asked");
    scene.get("/health");
}
