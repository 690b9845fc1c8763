//! Runs that compete for the lock of a service on Docker.

use crate::support;

use support::deployer::Deployer;
use support::docker::Docker;
use support::lock_scenarios::LockScenarios;

const ENGINE: &[&str] = &["--engine", "docker"];

fn with_scenarios(test: impl Fn(&LockScenarios, &Docker)) {
    let (docker, deployer) = (Docker::new(), Deployer::docker());
    let service = docker.name("web");
    test(&LockScenarios { deployer: &deployer, engine: ENGINE, service: &service, image: "python:3.11-slim" }, &docker);
    let left = docker.cli(&["volume", "ls", "--quiet", "--filter", &format!("name={service}")]);
    assert_eq!(left.lines().filter(|name| !name.contains("deployer-epoch-")).count(), 0, "{left}");
}

#[test]
fn only_one_of_two_runs_gets_the_lock() {
    with_scenarios(|scenarios, _| scenarios.only_one_of_two_runs_gets_the_lock());
}

#[test]
fn a_waiting_run_starts_after_the_first() {
    with_scenarios(|scenarios, _| scenarios.a_waiting_run_starts_after_the_first());
}

#[test]
fn the_lock_of_a_killed_run_is_taken_over() {
    with_scenarios(|scenarios, _| scenarios.the_lock_of_a_killed_run_is_taken_over());
}

#[test]
fn a_paused_run_that_lost_its_lock_changes_nothing() {
    with_scenarios(|scenarios, docker| {
        let filter = format!("name={}", scenarios.service);
        let list = ["ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.Status}}", "--filter", &filter];
        let snapshot = || {
            // Only the first word of the status: the rest is the time that the container is up, which differs.
            let listed = docker.cli(&list);
            let mut lines: Vec<String> =
                listed.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
            lines.sort();
            lines.join("\n")
        };
        scenarios.a_paused_run_that_lost_its_lock_changes_nothing(snapshot);
    });
}
