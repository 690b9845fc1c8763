//! Kills deploys with SIGKILL at exact journal entries, on real Docker, with the scripts of both guides. After `resume` the
//! new version serves, after `abort` the old one, and nothing is left over. The suite runs a sample of the crash points;
//! this command runs all of them in about an hour: `DEPLOYER_SWEEP=all cargo test --release --test docker resume`.

use crate::support;

use support::apps;
use support::logo_app::LogoApp;
use support::manual_app::ManualApp;
use support::steady_client::SteadyClient;
use support::sweep::{DeployedApp, Recovery, count_entries, crash_points, sweep};

/// Crash points of each sweep.
const SAMPLE: u64 = 6;

fn kill_and_recover(app: &mut dyn DeployedApp, recovery: Recovery) {
    count_entries(app, "v1");
    let count = count_entries(app, "v2");
    let killed = sweep(app, recovery, &crash_points(count, SAMPLE), 2);
    assert!(killed >= 4, "only {killed} were killed");
}

#[test]
fn a_blue_green_deploy_is_resumed() {
    kill_and_recover(&mut ManualApp::new(), Recovery::Resume);
}

#[test]
fn a_blue_green_deploy_is_aborted() {
    kill_and_recover(&mut ManualApp::new(), Recovery::Abort);
}

#[test]
fn a_safe_deploy_is_resumed() {
    kill_and_recover(&mut LogoApp::new(), Recovery::Resume);
}

#[test]
fn a_safe_deploy_is_aborted() {
    kill_and_recover(&mut LogoApp::new(), Recovery::Abort);
}

#[test]
fn a_deploy_killed_in_its_health_wait_and_a_broken_next_one_never_stop_the_service() {
    let app = ManualApp::with_v1();
    let second = apps::manual_image(&app.docker, "v2");
    let slow = app.release("slow", "ENV STARTUP_DELAY=600");
    let broken = app.release("broken", "CMD [\"false\"]");
    let config = app.deployer.file(
        "slow.toml",
        &app.config(&slow).replace("command = [\"./startup.sh\"]", "command = [\"sleep\", \"600\"]"),
    );
    let client = SteadyClient::start(app.port, "/health", 20);
    let mut run = app.deployer.watch_run("bluegreen.rhai", &["--config", &config]);
    run.until_intended("health_wait");
    run.kill();
    app.deploy(&broken).code(5).says("deployer resume").says("deployer abort");
    app.deployer.call(&["abort"]).ok();
    let config = app.config(&broken).replace("command = [\"./startup.sh\"]", "command = [\"false\"]");
    app.deployer.deploy("bluegreen.rhai", &config).code(1);
    let report = client.finish();
    assert_eq!(
        (report.failed, report.versions.keys().map(String::as_str).collect::<Vec<_>>()),
        (0, vec!["v1"]),
        "{report:?}"
    );
    app.serves_alone("v1");
    app.deploy(&second).ok();
    app.serves_alone("v2");
}

#[test]
fn a_run_killed_during_a_program_asks_for_a_decision() {
    let app = ManualApp::new();
    let script = app.deployer.file("ask.rhai", "exec([\"sleep\", \"600\"], #{timeout: \"20m\"});\nlog(\"after\");\n");
    let mut run = app.deployer.watch_run(&script, &[]);
    run.until_intended("exec");
    run.kill();
    let refused = app.deployer.call(&["resume"]).code(5).says("outcome unknown: the run was interrupted during");
    refused.says("--redo-step").says("--skip-step 1");
    app.deployer.call(&["resume", "--skip-step", "7"]).code(2).says("no decision is needed");
    app.deployer.call(&["resume", "--skip-step", "1"]).ok().says("after");
    app.deployer.call(&["resume"]).code(2).says("has ended: succeeded");
}
