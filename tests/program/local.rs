//! The shipped blue-green script on the local engine: a real Python app in child processes, without Docker.

use crate::support;

use nix::sys::signal::Signal;
use std::time::Duration;
use support::apps;
use support::deadline::until;
use support::deployer::{Deployer, Finished};
use support::http;
use support::ports::free_port;
use support::steady_client::SteadyClient;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A service on its own local engine. Its processes end with the test.
struct Service {
    deployer: Deployer,
    port: u16,
    green_port: u16,
    folders: Vec<TempDir>,
}

impl Service {
    fn new() -> Self {
        Self { deployer: Deployer::local(), port: free_port(), green_port: free_port(), folders: Vec::new() }
    }

    fn config(&mut self, version: &str, environment: &str) -> String {
        let folder = apps::local_manual(version, environment);
        let config = format!(
            r#"
service = "manual"
image = "manual:{version}"
build = "{build}"
container_port = 5000
port = {port}
green_port = {green_port}
volumes = ["manual_instance:/app/instance"]
drain = "5s"
bake = "200ms"

[health]
path = "/health"
timeout = "10s"

[database]
volume = "manual_instance"
path = "manual_generator.db"
seed = ["python3", "seed.py"]
"#,
            build = folder.path().display(),
            port = self.port,
            green_port = self.green_port,
        );
        self.folders.push(folder);
        config
    }

    fn deploy(&mut self, version: &str, environment: &str) -> Finished {
        let config = self.config(version, environment);
        self.deployer.deploy("bluegreen.rhai", &config)
    }

    #[track_caller]
    fn serves(&self, version: &str) {
        let answer = until("an answer", TIMEOUT, || http::get(self.port, "/health").ok());
        assert_eq!((answer.status, answer.version.as_str()), (200, version), "{}", answer.body);
        assert!(http::get(self.green_port, "/health").is_err(), "green is gone");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let script = self.deployer.file(
            "sweep.rhai",
            "for container in docker_list(#{all: true}) { docker_remove(#{container: container.name, force: true}); }",
        );
        self.deployer.run(&script, &[]);
    }
}

#[test]
fn two_releases_are_deployed_and_a_broken_third_is_refused() {
    let mut service = Service::new();
    service.deploy("v1", "").ok();
    service.serves("v1");
    http::post(service.port, "/api/manuals", r#"{"title": "Mine"}"#).unwrap();

    let client = SteadyClient::start(service.port, "/health", 40);
    service.deploy("v2", "").ok();
    service.serves("v2");
    let report = client.finish();
    assert!(report.versions.contains_key("v1") && report.versions.contains_key("v2"), "{report:?}");
    assert!(http::get(service.port, "/").unwrap().body.contains("Mine"), "the new release has the same volume");

    let client = SteadyClient::start(service.port, "/health", 40);
    service.deploy("v3", "EXIT_AT_START=3").code(1).says("EXIT_AT_START is set");
    service.serves("v2");
    let report = client.finish();
    assert_eq!(report.failed, 0, "{report:?}");
}

#[test]
fn a_failure_after_the_cutover_restores_blue() {
    let mut service = Service::new();
    service.deploy("v1", "").ok();
    let config = service.config("v2", "SICK_START=2").replace("timeout = \"10s\"", "timeout = \"2s\"");
    service.deployer.deploy("bluegreen.rhai", &config).code(1);
    service.serves("v1");
}

#[test]
fn a_cancelled_deploy_rolls_itself_back() {
    let mut service = Service::new();
    service.deploy("v1", "").ok();
    let config = service.config("v2", "SLOW_START=60");
    let running = service.deployer.start_deploy("bluegreen.rhai", &config);
    until("green beside blue", TIMEOUT, || {
        let script = service.deployer.file("count.rhai", "print(docker_list(#{}).len())");
        let said = service.deployer.run(&script, &[]).said();
        said.lines().any(|line| line.trim() == "2").then_some(())
    });
    running.signal(Signal::SIGTERM);
    running.wait().code(130);
    service.serves("v1");
}
