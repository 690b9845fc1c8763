//! Two runs and one service on a Docker Engine.

mod support;

use support::deployer::Deployer;
use support::docker::Docker;
use support::rivals::Rivals;

const ENGINE: &[&str] = &["--engine", "docker"];

fn with_rivals(play: impl Fn(&Rivals, &Docker)) {
    let (docker, deployer) = (Docker::new(), Deployer::docker());
    let service = docker.name("web");
    play(&Rivals { deployer: &deployer, engine: ENGINE, service: &service, image: "python:3.11-slim" }, &docker);
    let left = docker.cli(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]);
    assert_eq!(left.lines().filter(|name| !name.contains("deployer-epoch-")).count(), 0, "{left}");
}

#[test]
fn one_of_two_runs() {
    with_rivals(|rivals, _| rivals.one_of_two_runs());
}

#[test]
fn who_waits_runs_after() {
    with_rivals(|rivals, _| rivals.who_waits_runs_after());
}

#[test]
fn the_dead_are_in_nobodys_way() {
    with_rivals(|rivals, _| rivals.the_dead_are_in_nobodys_way());
}

#[test]
fn a_paused_run_changes_nothing() {
    with_rivals(|rivals, docker| {
        let filter = format!("name={}", rivals.service);
        let list = ["ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.Status}}", "--filter", &filter];
        let looks = || {
            // The seconds that a container is up differ, whether it is up does not.
            let listed = docker.cli(&list);
            let mut lines: Vec<String> =
                listed.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
            lines.sort();
            lines.join("\n")
        };
        rivals.a_paused_run_changes_nothing(looks);
    });
}
