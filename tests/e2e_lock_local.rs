//! Two runs and one service on the local engine.

mod support;

use support::deployer::Deployer;
use support::rivals::Rivals;

const ENGINE: &[&str] = &["--engine", "local"];

/// An engine of its own with the image that the rivals deploy.
fn engine() -> Deployer {
    let deployer = Deployer::local();
    let folder = deployer.home().join("app");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), "FROM scratch\nCMD [\"sleep\", \"600\"]\n").unwrap();
    let build = format!("docker_build(#{{context: \"{}\", tag: \"app:v1\"}});", folder.display());
    deployer.run(&deployer.file("build.rhai", &build), &[]).ok();
    deployer
}

fn with_rivals(play: impl Fn(&Rivals)) {
    let deployer = engine();
    play(&Rivals { deployer: &deployer, engine: ENGINE, service: "web", image: "app:v1" });
}

#[test]
fn one_of_two_runs() {
    with_rivals(|rivals| rivals.one_of_two_runs());
}

#[test]
fn who_waits_runs_after() {
    with_rivals(|rivals| rivals.who_waits_runs_after());
}

#[test]
fn the_dead_are_in_nobodys_way() {
    with_rivals(|rivals| rivals.the_dead_are_in_nobodys_way());
}

#[test]
fn a_paused_run_changes_nothing() {
    with_rivals(|rivals| {
        let script =
            "for found in docker_list(#{all: true}) { print(found.name + \" \" + found.id + \" \" + found.state); }";
        let look = rivals.deployer.file("look.rhai", script);
        rivals.a_paused_run_changes_nothing(|| {
            let said = rivals.deployer.run(&look, &[]).ok().stdout;
            said.lines().filter(|line| line.contains("web-")).map(|line| format!("{line}\n")).collect()
        });
    });
}
