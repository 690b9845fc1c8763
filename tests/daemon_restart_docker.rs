//! A Docker daemon that goes away in the middle of a deploy and comes back: a daemon of the test's own, without
//! networks, so that nobody else notices.

mod support;

use std::time::Duration;

use support::deadline::until;
use support::deployer::{Deployer, Finished};
use support::own_daemon::OwnDaemon;
use support::watched_run::WatchedRun;

const PATIENCE: Duration = Duration::from_secs(60);
const IMAGE: &str = "app:v1";

fn started() -> OwnDaemon {
    let daemon = OwnDaemon::without_networks();
    let context = daemon.folder().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::copy("/bin/busybox", context.join("busybox")).expect("the package busybox-static");
    let text = "FROM scratch\nCOPY busybox /bin/sleep\nCMD [\"/bin/sleep\", \"600\"]\n";
    std::fs::write(context.join("Dockerfile"), text).unwrap();
    daemon.docker(&["build", "--quiet", "--tag", IMAGE, context.to_str().unwrap()]).unwrap();
    daemon
}

fn containers(daemon: &OwnDaemon) -> String {
    daemon.docker(&["ps", "--all", "--format", "{{.Names}} {{.State}}"]).unwrap()
}

fn deploy_of(gate: &str) -> String {
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

/// Deploys over a running service; `meanwhile` happens to the daemon while green runs.
fn deploy(daemon: &mut OwnDaemon, meanwhile: impl Fn(&mut OwnDaemon, &dyn Fn())) -> Finished {
    let deployer = Deployer::docker();
    let address = daemon.address();
    let first = format!(
        "lock(\"web\"); docker_run(#{{name: \"web\", image: \"{IMAGE}\", service: \"web\", restart: \"unless-stopped\"}});"
    );
    let engine = ["--docker-host", address.as_str()];
    deployer.run(&deployer.file("first.rhai", &first), &engine).ok();
    let gate = deployer.home().join("gate");
    let script = deployer.file("deploy.rhai", &deploy_of(gate.to_str().unwrap()));
    let mut args = vec!["run", &script, "--format", "json"];
    args.extend(engine);
    let mut run = WatchedRun::start(deployer.command(&args));
    run.until_intended("exec");
    meanwhile(daemon, &|| std::fs::write(&gate, "").unwrap());
    let end = run.wait();
    assert!(matches!(end.code, 0 | 1), "{} {}", end.code, end.said());
    until("one service", PATIENCE, || (containers(daemon) == "web running").then_some(()));
    assert_eq!(daemon.docker(&["volume", "ls", "--quiet"]).unwrap(), "", "no lock is left");
    end
}

#[test]
fn a_daemon_that_was_started_anew_is_found_again() {
    let mut daemon = started();
    deploy(&mut daemon, |daemon, go_on| {
        daemon.end();
        daemon.begin();
        go_on();
    });
}

#[test]
fn a_run_is_taken_back_once_the_daemon_answers_again() {
    let mut daemon = started();
    let end = deploy(&mut daemon, |daemon, go_on| {
        daemon.end();
        go_on();
        daemon.begin();
    });
    assert_eq!(end.code, 1, "{}", end.said());
}
