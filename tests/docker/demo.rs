//! `deployer demo`, the service lock and stuck runs on real Docker.

use crate::support;

use std::process::Command;

use nix::sys::signal::Signal;
use support::apps;
use support::demo::{self, Demo, assert_load_results};
use support::deployer::{Deployer, Finished};
use support::manual_app::ManualApp;

/// Lists the containers, images, volumes and networks that the demo left: by the labels of its runs, and by the name
/// `deployer-demo`.
fn leftovers(finished: &Finished) -> Vec<String> {
    let list = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let labels = demo::run_ids(finished).into_iter().map(|run| format!("label=deployer.run={run}"));
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
    let demo = Demo::new("docker");
    let mut first = demo.start();
    first.until_intended("docker_build");
    let other = Demo::new("docker");
    other.start().wait().code(4).says("another demo is running");
    other.assert_left_nothing();
    let done = first.wait().ok();
    assert_load_results(&done.stderr);
    assert_eq!(leftovers(&done), [""; 0]);
    demo.assert_left_nothing();

    let mut cancelled = demo.start();
    cancelled.until("the first bake", |event| event["intent"]["kind"] == "sleep");
    cancelled.signal(Signal::SIGINT);
    let cancelled = cancelled.wait().code(130);
    assert_eq!(leftovers(&cancelled), [""; 0]);
    demo.assert_left_nothing();
}

#[test]
fn a_service_has_one_run_at_a_time_on_docker() {
    let app = ManualApp::with_v1();
    let image = apps::manual_image(&app.docker, "v2");
    let config = app.deployer.file("first.toml", &app.config(&image));
    // The bake is long, so that the first run still holds the lock when the second one starts.
    let mut first = app.deployer.watch_run("bluegreen.rhai", &["--config", &config, "--set", "bake=10m"]);
    first.until_intended("sleep");
    // Another state folder, as on another machine.
    let other = Deployer::docker();
    let second = other.deploy("bluegreen.rhai", &app.config(&image)).code(4);
    assert!(second.said().contains(&first.id()) && second.said().contains("since"), "{}", second.said());
    first.signal(Signal::SIGTERM);
    first.wait().code(130);
    app.serves_alone("v1");
    other.deploy("bluegreen.rhai", &app.config(&image)).ok();
    app.serves_alone("v2");
}

#[test]
fn a_stuck_run_prints_the_exact_command_for_the_operator() {
    let app = ManualApp::with_v1();
    let script = app.deployer.file(
        "stuck.rhai",
        &format!(
            "docker_rename(\"{0}\", \"{0}-aside\");\nexec([\"docker\", \"rename\", \"{0}-aside\", \"{0}-elsewhere\"]);\n\
             exec([\"docker\", \"create\", \"--name\", \"{0}\", \"{0}:v1\"]);\nfail(\"no\");\n",
            app.service
        ),
    );
    let stuck = app.deployer.run(&script, &[]).code(3);
    let command = stuck.stderr.lines().map(str::trim).find(|line| line.starts_with("docker rename ")).unwrap();
    app.docker.cli(&["rm", "-f", &app.service]);
    let args: Vec<_> = command.split(' ').skip(1).collect();
    app.docker.cli(&args);
    app.serves_alone("v1");
}
