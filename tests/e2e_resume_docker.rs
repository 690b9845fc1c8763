//! `kill -9` at exact entries of the journal, on real Docker, for both guides' scripts: a resume ends on the new version,
//! an abort on the old one, and nothing is left over. A sample of the points; all of them, in about an hour:
//! `DEPLOYER_SWEEP=all cargo test --release --test e2e_resume_docker`.

mod support;

use support::apps;
use support::logo::Logo;
use support::scene::Scene;
use support::sweep::{Subject, Way, entries, points, sweep};
use support::visitor::Visitor;

/// Points of each sweep.
const FEW: u64 = 6;

fn swept(subject: &mut dyn Subject, way: Way) {
    entries(subject, "v1");
    let count = entries(subject, "v2");
    let killed = sweep(subject, way, &points(count, FEW), 2);
    assert!(killed >= 4, "only {killed} were killed");
}

#[test]
fn a_blue_green_deploy_is_resumed() {
    swept(&mut Scene::new(), Way::Resume);
}

#[test]
fn a_blue_green_deploy_is_aborted() {
    swept(&mut Scene::new(), Way::Abort);
}

#[test]
fn a_safe_deploy_is_resumed() {
    swept(&mut Logo::new(), Way::Resume);
}

#[test]
fn a_safe_deploy_is_aborted() {
    swept(&mut Logo::new(), Way::Abort);
}

#[test]
fn a_deploy_killed_in_its_health_wait_and_a_broken_one_after_it_never_stop_the_service() {
    let scene = Scene::with_v1();
    let second = apps::manual(&scene.docker, "v2");
    let slow = scene.release("slow", "ENV STARTUP_DELAY=600");
    let broken = scene.release("broken", "CMD [\"false\"]");
    let config = scene.deployer.file(
        "slow.toml",
        &scene.config(&slow).replace("command = [\"./startup.sh\"]", "command = [\"sleep\", \"600\"]"),
    );
    let visitor = Visitor::start(scene.port, "/health", 20);
    let mut run = scene.deployer.watch_run("bluegreen.rhai", &["--config", &config]);
    run.until_intended("health_wait");
    run.kill();
    scene.deploy(&broken).code(5).says("deployer resume").says("deployer abort");
    scene.deployer.call(&["abort"]).ok();
    let config = scene.config(&broken).replace("command = [\"./startup.sh\"]", "command = [\"false\"]");
    scene.deployer.deploy("bluegreen.rhai", &config).code(1);
    let seen = visitor.finish();
    assert_eq!(
        (seen.failed, seen.versions.keys().map(String::as_str).collect::<Vec<_>>()),
        (0, vec!["v1"]),
        "{seen:?}"
    );
    scene.serves_alone("v1");
    scene.deploy(&second).ok();
    scene.serves_alone("v2");
}

#[test]
fn a_run_that_is_killed_in_the_middle_of_a_program_asks() {
    let scene = Scene::new();
    let script = scene.deployer.file("ask.rhai", "exec([\"sleep\", \"600\"], #{timeout: \"20m\"});\nlog(\"after\");\n");
    let mut run = scene.deployer.watch_run(&script, &[]);
    run.until_intended("exec");
    run.kill();
    let asked = scene.deployer.call(&["resume"]).code(5).says("nobody knows whether this was done");
    let step = asked.says("--redo-step").says("--skip-step 1");
    drop(step);
    scene.deployer.call(&["resume", "--skip-step", "7"]).code(2).says("nothing to decide");
    scene.deployer.call(&["resume", "--skip-step", "1"]).ok().says("after");
    scene.deployer.call(&["resume"]).code(2).says("has ended: succeeded");
}
