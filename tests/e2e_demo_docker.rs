//! `deployer demo` and the lock on real Docker: nothing of the demo stays.

mod support;

use std::process::Command;

use nix::sys::signal::Signal;
use support::apps;
use support::deployer::Deployer;
use support::scene::Scene;
use support::watched_run::WatchedRun;

/// What is called `deployer-demo`: containers, images, volumes, networks.
fn left() -> Vec<String> {
    let list = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut left = list(&["ps", "-a", "--filter", "name=deployer-demo", "--format", "{{.Names}}"]);
    left.extend(list(&["images", "--filter", "reference=deployer-demo*", "--format", "{{.Repository}}:{{.Tag}}"]));
    left.extend(list(&["volume", "ls", "--filter", "name=deployer-demo", "--format", "{{.Name}}"]));
    left.extend(list(&["volume", "ls", "--filter", "label=deployer.service=deployer-demo", "--format", "{{.Name}}"]));
    left.extend(list(&["network", "ls", "--filter", "name=deployer-demo", "--format", "{{.Name}}"]));
    left
}

fn demo(deployer: &Deployer) -> WatchedRun {
    WatchedRun::start(deployer.command(&["demo", "--engine", "docker", "--format", "json"]))
}

#[test]
fn the_demo_leaves_nothing_on_docker() {
    let deployer = Deployer::docker();
    let mut first = demo(&deployer);
    first.until_intended("docker_build");
    let second = deployer.call(&["demo", "--engine", "docker"]).code(4);
    assert!(second.stderr.contains("another demo is under way"), "{}", second.stderr);
    let done = first.wait().ok();
    for words in ["requests", "failures", "slowest", "by v1", "by v2"] {
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    assert_eq!(left(), [""; 0]);

    let mut cancelled = demo(&deployer);
    cancelled.until("the first bake", |event| event["intent"]["kind"] == "sleep");
    cancelled.signal(Signal::SIGINT);
    cancelled.wait().code(130);
    assert_eq!(left(), [""; 0]);
}

#[test]
fn one_run_of_a_service_at_a_time_on_docker() {
    let scene = Scene::with_v1();
    let image = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("first.toml", &scene.config(&image));
    let mut first = scene.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=4s"]);
    first.until_intended("sleep");
    // From another machine: another state folder.
    let other = Deployer::docker();
    let second = other.deploy("bluegreen.rhai", &scene.config(&image)).code(4);
    assert!(second.said().contains(&first.id()) && second.said().contains("since"), "{}", second.said());
    first.wait().ok();
    scene.serves_alone("v2");
}

#[test]
fn what_cannot_be_brought_back_is_left_to_a_person_with_the_exact_command() {
    let scene = Scene::with_v1();
    let script = scene.deployer.file(
        "stuck.rhai",
        &format!(
            "docker_rename(\"{0}\", \"{0}-aside\");\nexec([\"docker\", \"rename\", \"{0}-aside\", \"{0}-elsewhere\"]);\n\
             exec([\"docker\", \"create\", \"--name\", \"{0}\", \"{0}:v1\"]);\nfail(\"no\");\n",
            scene.service
        ),
    );
    let stuck = scene.deployer.run(&script, &[]).code(3);
    let command = stuck.stderr.lines().map(str::trim).find(|line| line.starts_with("docker rename ")).unwrap();
    scene.docker.cli(&["rm", "-f", &scene.service]);
    let words: Vec<_> = command.split(' ').skip(1).collect();
    scene.docker.cli(&words);
    scene.serves_alone("v1");
}
