//! `deployer demo` and the lock on real Docker: nothing of the demo stays.

mod support;

use std::process::Command;

use nix::sys::signal::Signal;
use support::apps;
use support::demo::{self, Demo, tells_its_numbers};
use support::deployer::{Deployer, Finished};
use support::scene::Scene;

/// What these runs made, and what is called `deployer-demo`: containers, images, volumes, networks.
fn left(finished: &Finished) -> Vec<String> {
    let list = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let labels = demo::runs(finished).into_iter().map(|run| format!("label=deployer.run={run}"));
    let mut left = list(&["images", "--quiet", "--filter", "reference=deployer-demo*"]);
    for filter in labels.chain(["name=deployer-demo".into(), "label=deployer.service=deployer-demo".into()]) {
        left.extend(list(&["ps", "--all", "--quiet", "--filter", &filter]));
        left.extend(list(&["volume", "ls", "--quiet", "--filter", &filter]));
        left.extend(list(&["network", "ls", "--quiet", "--filter", &filter]));
        if filter.starts_with("label=") {
            left.extend(list(&["images", "--all", "--quiet", "--filter", &filter]));
        }
    }
    left
}

#[test]
fn the_demo_leaves_nothing_on_docker() {
    let demo = Demo::on("docker");
    let mut first = demo.start();
    first.until_intended("docker_build");
    let other = Demo::on("docker");
    other.start().wait().code(4).says("another demo is under way");
    other.left_nothing();
    let done = first.wait().ok();
    tells_its_numbers(&done.stderr);
    assert_eq!(left(&done), [""; 0]);
    demo.left_nothing();

    let mut cancelled = demo.start();
    cancelled.until("the first bake", |event| event["intent"]["kind"] == "sleep");
    cancelled.signal(Signal::SIGINT);
    let cancelled = cancelled.wait().code(130);
    assert_eq!(left(&cancelled), [""; 0]);
    demo.left_nothing();
}

#[test]
fn one_run_of_a_service_at_a_time_on_docker() {
    let scene = Scene::with_v1();
    let image = apps::manual(&scene.docker, "v2");
    let config = scene.deployer.file("first.toml", &scene.config(&image));
    // It watches for longer than anybody waits: how fast the second one comes does not matter.
    let mut first = scene.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
    first.until_intended("sleep");
    // From another machine: another state folder.
    let other = Deployer::docker();
    let second = other.deploy("bluegreen.rhai", &scene.config(&image)).code(4);
    assert!(second.said().contains(&first.id()) && second.said().contains("since"), "{}", second.said());
    first.signal(Signal::SIGTERM);
    first.wait().code(130);
    scene.serves_alone("v1");
    other.deploy("bluegreen.rhai", &scene.config(&image)).ok();
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
