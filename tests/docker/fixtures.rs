//! Tests of the fixtures: they behave as the deploy tests assume, in Docker and as plain processes.

use crate::support;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::apps;
use support::deadline::until;
use support::docker::Docker;
use support::git_repo::GitRepo;
use support::http;
use support::ports::free_port;
use support::snapshot::normalize;
use support::steady_client::SteadyClient;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A child process with a temporary folder. Both end with the test.
struct Process {
    child: Child,
    _folder: TempDir,
}

impl Process {
    fn python(app: &str, file: &str, port: u16, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("python3")
            .current_dir(apps::example(app))
            .arg(file)
            .env("PORT", port.to_string())
            .env("DATABASE_PATH", folder.path().join("instance/manuals.db"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _folder: folder }
    }

    fn stop(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        until("the end of the app", TIMEOUT, || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_healthy(port: u16) {
    until("a healthy app", TIMEOUT, || http::get(port, "/health").ok().filter(|answer| answer.status == 200));
}

#[test]
fn the_manual_generator_finishes_its_requests_when_stopped() {
    let port = free_port();
    let mut app = Process::python("manual-generator", "app.py", port, &[("APP_VERSION", "v1")]);
    wait_healthy(port);
    let slow = thread::spawn(move || http::get(port, "/slow?seconds=1").unwrap());
    // After a few other requests, the slow one has reached the app.
    let client = SteadyClient::start(port, "/", 20);
    until("some requests", TIMEOUT, || (client.report().sent > 3).then_some(()));
    let report = client.finish();
    assert_eq!((report.failed, report.versions["v1"]), (0, report.sent), "{report:?}");
    app.stop();
    until("not ready", TIMEOUT, || http::get(port, "/api/v1/ready").ok().filter(|answer| answer.status == 503));
    assert_eq!(slow.join().unwrap().status, 200);
    assert_eq!(app.code(), Some(0));
}

#[test]
fn the_apps_can_be_broken_on_purpose() {
    for (app, file) in [("manual-generator", "app.py"), ("logo-detection", "src/api/main.py")] {
        let port = free_port();
        assert_eq!(Process::python(app, file, port, &[("EXIT_AT_START", "3")]).code(), Some(3));
        let _broken = Process::python(app, file, port, &[("HEALTH", "500"), ("NEVER_READY", "1")]);
        let answer = until("an answer", TIMEOUT, || http::get(port, "/health").ok());
        assert_eq!(answer.status, 500, "{app}");
        assert_eq!(http::get(port, "/api/v1/ready").unwrap().status, 503, "{app}");
    }
}

#[test]
fn the_manual_generator_runs_in_docker_with_its_compose_file() {
    let docker = Docker::new();
    let image = apps::manual_image(&docker, "v1");
    let (name, port) = (docker.name("manual"), free_port());
    let file = apps::example("manual-generator").join("docker-compose.yml");
    let compose = |args: &[&str]| {
        let output = Command::new("docker-compose")
            .args(["--file", file.to_str().unwrap(), "--project-name", &docker.name("project")])
            .args(args)
            .env("MANUAL_IMAGE", &image)
            .env("MANUAL_NAME", &name)
            .env("MANUAL_PORT", port.to_string())
            .env("MANUAL_VOLUMES", docker.name("volume"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    compose(&["up", "-d", "manual"]);
    wait_healthy(port);
    assert!(docker.cli(&["exec", &name, "python3", "seed.py"]).contains("seeded 3"));
    assert!(docker.cli(&["exec", &name, "python3", "seed.py"]).contains("nothing seeded"));
    http::post(port, "/api/manuals", r#"{"title": "Mine"}"#).unwrap();
    docker.cli(&["rm", "-f", &name]);
    compose(&["up", "-d", "manual"]);
    wait_healthy(port);
    let page = http::get(port, "/").unwrap();
    assert!(page.body.contains("Mine") && page.version == "v1", "the volume keeps the data: {}", page.body);

    let broken = docker.derive(&image, "v2", "ENV HEALTH=500");
    assert!(broken.ends_with("-manual:v2"));
    assert_eq!(docker.containers(false), ["manual"]);
}

#[test]
fn docker_objects_of_a_test_are_removed_at_its_end() {
    let docker = Docker::new();
    let prefix = docker.name("");
    let image = apps::manual_image(&docker, "v1");
    docker.cli(&["volume", "create", &docker.name("data")]);
    docker.cli(&["network", "create", &docker.name("net")]);
    docker.cli(&["run", "-d", "--name", &docker.name("app"), &image]);
    drop(docker);
    let docker = Docker::new();
    for list in [
        &["ps", "-a", "--format", "{{.Names}}"][..],
        &["volume", "ls", "-q"],
        &["network", "ls", "--format", "{{.Name}}"],
        &["images", "--format", "{{.Repository}}"],
    ] {
        assert!(!docker.cli(list).contains(&prefix), "{list:?}");
    }
}

#[test]
fn repositories_are_real() {
    let repo = GitRepo::of(&apps::example("logo-detection"));
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.write("README.md", "changed");
    assert_ne!(repo.commit("Change the README"), first);
    assert_eq!(repo.git(&["diff", "--name-only", &first, "HEAD"]), "README.md");
}

#[test]
fn snapshots_replace_what_differs_between_runs() {
    let text = "run 3k9x0q2m7z ended after 1.2s (12ms) in /tmp/x/state.";
    assert_eq!(normalize(text, &[("/tmp/x", "HOME")]), "run RUN ended after TIME (TIME) in [HOME]/state.");
}
