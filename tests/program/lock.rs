//! Runs that compete for the lock of a service on the local engine.

use crate::support;

use support::deployer::Deployer;
use support::lock_scenarios::LockScenarios;

const ENGINE: &[&str] = &["--engine", "local"];

/// Creates a local engine with the image that the scenarios deploy.
fn engine() -> Deployer {
    let deployer = Deployer::local();
    let folder = deployer.home().join("app");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nCMD [\"sleep\", \"600\"]\n").unwrap();
    let build = format!("docker_build(#{{context: \"{}\", tag: \"app:v1\"}});", folder.display());
    deployer.run(&deployer.file("build.rhai", &build), &[]).ok();
    deployer
}

fn with_scenarios(test: impl Fn(&LockScenarios)) {
    let deployer = engine();
    test(&LockScenarios { deployer: &deployer, engine: ENGINE, service: "web", image: "app:v1" });
}

#[test]
fn only_one_of_two_runs_gets_the_lock() {
    with_scenarios(|scenarios| scenarios.only_one_of_two_runs_gets_the_lock());
}

#[test]
fn a_waiting_run_starts_after_the_first() {
    with_scenarios(|scenarios| scenarios.a_waiting_run_starts_after_the_first());
}

#[test]
fn the_lock_of_a_killed_run_is_taken_over() {
    with_scenarios(|scenarios| scenarios.the_lock_of_a_killed_run_is_taken_over());
}

#[test]
fn a_paused_run_that_lost_its_lock_changes_nothing() {
    with_scenarios(|scenarios| {
        let script =
            "for found in docker_list(#{all: true}) { print(found.name + \" \" + found.id + \" \" + found.state); }";
        let list = scenarios.deployer.file("list.rhai", script);
        scenarios.a_paused_run_that_lost_its_lock_changes_nothing(|| {
            let output = scenarios.deployer.run(&list, &[]).ok().stdout;
            output.lines().filter(|line| line.contains("web-")).map(|line| format!("{line}\n")).collect()
        });
    });
}
