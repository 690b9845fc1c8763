//! A Docker daemon that stops during a deploy and starts again. The tests use a private daemon without networks, so that
//! other tests are not affected.

use crate::support;

use std::time::Duration;

use support::deadline::until;
use support::deployer::{Deployer, Finished};
use support::private_daemon::PrivateDaemon;
use support::watched_run::WatchedRun;

const TIMEOUT: Duration = Duration::from_secs(60);
const IMAGE: &str = "app:v1";

fn start_daemon() -> PrivateDaemon {
    let daemon = PrivateDaemon::without_networks();
    let context = daemon.folder().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("the package busybox-static");
    let text = "FROM scratch\nCOPY busybox /bin/sleep\nCMD [\"/bin/sleep\", \"600\"]\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    daemon.docker(&["build", "--quiet", "--tag", IMAGE, context.to_str().unwrap()]).unwrap();
    daemon
}

fn containers(daemon: &PrivateDaemon) -> String {
    daemon.docker(&["ps", "--all", "--format", "{{.Names}} {{.State}}"]).unwrap()
}

fn deploy_script(gate: &str) -> String {
    format!(
        r#"
lock("web");
docker_run(#{{name: "web-green", image: "{IMAGE}", service: "web", role: "candidate"}});
exec(["sh", "-c", "until [ -e {gate} ]; do sleep 0.05; done"], #{{timeout: "60s"}});
if docker_inspect("web-green").state != "running" {{ fail("green died"); }}
docker_stop("web", #{{grace: "1s"}});
docker_rename("web", "web-old");
docker_rename("web-green", "web");
docker_remove("web-old", #{{disposable: true}});
"#
    )
}

/// Deploys over a running service. Calls `meanwhile` while green runs, with the daemon and a function that lets the run
/// continue.
fn deploy(daemon: &mut PrivateDaemon, meanwhile: impl Fn(&mut PrivateDaemon, &dyn Fn())) -> Finished {
    let deployer = Deployer::docker();
    let address = daemon.address();
    let first = format!(
        "lock(\"web\"); docker_run(#{{name: \"web\", image: \"{IMAGE}\", service: \"web\", restart: \"unless-stopped\"}});"
    );
    let engine = ["--docker-host", address.as_str()];
    deployer.run(&deployer.file("first.rhai", &first), &engine).ok();
    let gate = deployer.home().join("gate");
    let script = deployer.file("deploy.rhai", &deploy_script(gate.to_str().unwrap()));
    let mut args = vec!["run", &script, "--format", "json"];
    args.extend(engine);
    let mut run = WatchedRun::start(deployer.command(&args));
    run.until_intended("exec");
    meanwhile(daemon, &|| std::fs::write(&gate, "").unwrap());
    let end = run.wait();
    assert!(matches!(end.code, 0 | 1), "{} {}", end.code, end.said());
    until("a single running container", TIMEOUT, || (containers(daemon) == "web running").then_some(()));
    assert_eq!(daemon.docker(&["volume", "ls", "--quiet"]).unwrap(), "", "no lock is left");
    end
}

#[test]
fn a_deploy_reconnects_to_a_restarted_daemon() {
    let mut daemon = start_daemon();
    deploy(&mut daemon, |daemon, continue_run| {
        daemon.stop();
        daemon.start();
        continue_run();
    });
}

#[test]
fn a_run_is_rolled_back_after_the_daemon_has_restarted() {
    let mut daemon = start_daemon();
    let end = deploy(&mut daemon, |daemon, continue_run| {
        daemon.stop();
        continue_run();
        daemon.start();
    });
    assert_eq!(end.code, 1, "{}", end.said());
}

/// Kills a run that holds the lock of a service, and restarts the daemon. Returns what is needed to finish the run.
fn killed_before_a_restart() -> (PrivateDaemon, Deployer, String) {
    let mut daemon = start_daemon();
    let deployer = Deployer::docker();
    let address = daemon.address();
    let script = format!(
        "lock(\"web\"); docker_run(#{{name: \"web-green\", image: \"{IMAGE}\", service: \"web\"}});\n\
         exec([\"sleep\", \"600\"]); docker_rename(\"web-green\", \"web\");"
    );
    let script = deployer.file("killed.rhai", &script);
    let mut run =
        WatchedRun::start(deployer.command(&["run", &script, "--format", "json", "--docker-host", address.as_str()]));
    run.until_intended("exec");
    let id = run.id();
    run.kill();
    daemon.stop();
    daemon.start();
    (daemon, deployer, id)
}

#[test]
fn a_killed_run_is_aborted_after_the_daemon_has_restarted() {
    let (daemon, deployer, id) = killed_before_a_restart();
    deployer.call(&["abort", &id]).ok();
    assert_eq!((containers(&daemon).as_str(), daemon.docker(&["volume", "ls", "--quiet"]).as_deref()), ("", Some("")));
}

#[test]
fn a_killed_run_is_resumed_after_the_daemon_has_restarted() {
    let (daemon, deployer, id) = killed_before_a_restart();
    deployer.call(&["resume", &id, "--skip-step", "3"]).ok();
    assert_eq!(containers(&daemon), "web exited", "the daemon stopped it");
    assert_eq!(daemon.docker(&["volume", "ls", "--quiet"]).as_deref(), Some(""), "no lock is left");
}
