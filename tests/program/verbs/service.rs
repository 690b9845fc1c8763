//! A small web service on its own local engine, deployed with the shipped blue-green script.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::deadline::until;
use crate::support::deployer::{Deployer, Finished};
use crate::support::http;
use crate::support::ports::free_port;
use crate::support::watched_run::WatchedRun;

const TIMEOUT: Duration = Duration::from_secs(60);

const DOCKERFILE: &str = r#"FROM scratch
ARG VERSION
ENV VERSION=${VERSION}
COPY app.py /app/
CMD ["python3", "-I", "-S", "-u", "/app/app.py"]
"#;

/// Responds with its version. `STATUS` makes it unhealthy, and `SLOW_STOP` delays its end after SIGTERM. It imports little,
/// so that it starts fast even on a loaded machine.
const APP: &str = r"
import os, signal, socket, time

ends = []
signal.signal(signal.SIGTERM, lambda *_: ends.append(time.monotonic() + float(os.environ.get('SLOW_STOP', '0'))))
print('token', os.environ.get('TOKEN'))
server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])), backlog=64)
server.settimeout(0.05)
answer = 'HTTP/1.1 %s Status\r\nX-Version: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
answer = (answer % (os.environ.get('STATUS', '200'), os.environ['VERSION'])).encode()
while not ends or time.monotonic() < ends[0]:
    try:
        client = server.accept()[0]
        client.settimeout(5)
        client.recv(65536)
        client.sendall(answer)
        client.close()
    except OSError:
        pass
";

pub struct Service {
    pub deployer: Deployer,
    pub port: u16,
    pub green_port: u16,
}

impl Service {
    pub fn new() -> Self {
        Self::of(Deployer::local())
    }

    pub fn of(deployer: Deployer) -> Self {
        let service = Self { deployer, port: free_port(), green_port: free_port() };
        fs::create_dir(service.app()).unwrap();
        fs::write(service.app().join("Dockerfile"), DOCKERFILE).unwrap();
        fs::write(service.app().join("app.py"), APP).unwrap();
        service
    }

    /// Deploys version 1.
    #[track_caller]
    pub fn with_v1(more: &str) -> Self {
        let service = Self::new();
        service.deploy("v1", more).ok();
        service
    }

    pub fn app(&self) -> PathBuf {
        self.deployer.home().join("app")
    }

    /// Writes the configuration and returns its path. `more` is appended to the table `[environment]`; it can contain
    /// further tables.
    pub fn config(&self, version: &str, more: &str) -> String {
        let Self { port, green_port, .. } = self;
        let build = self.app().display().to_string();
        let text = format!(
            r#"
service = "web"
image = "web:{version}"
build = "{build}"
build_args = {{ VERSION = "{version}" }}
container_port = 5000
port = {port}
green_port = {green_port}
drain = "60s"
bake = "200ms"
health = {{ timeout = "10s" }}

[environment]
{more}
"#
        );
        self.deployer.file(&format!("{version}.toml"), &text)
    }

    pub fn deploy(&self, version: &str, more: &str) -> Finished {
        let config = self.config(version, more);
        self.deployer.run("bluegreen.rhai", &["--config", &config])
    }

    /// Starts a deploy in the background, and reads its events.
    pub fn watch(&self, version: &str, more: &str) -> WatchedRun {
        let config = self.config(version, more);
        self.deployer.watch_run("bluegreen.rhai", &["--config", &config])
    }

    /// Returns the version that responds on the public port.
    #[track_caller]
    pub fn version(&self) -> String {
        until("an answer", TIMEOUT, || http::get(self.port, "/").ok()).version
    }

    /// Asserts that this version serves and that the service's container is the only one but for kept releases.
    #[track_caller]
    pub fn serves_alone(&self, version: &str) {
        assert_eq!(self.version(), version);
        let kept = "for it in docker_list(#{all: true}) { if it.state == \"running\" || !(\"web-release-\" in it.name) { print(it.name); } }";
        assert_eq!(self.list(kept), ["web"]);
        assert!(http::get(self.green_port, "/").is_err(), "green is gone");
    }

    /// Returns the names of all containers, running or not.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        self.list("for it in docker_list(#{all: true}) { print(it.name); }")
    }

    /// Returns the names of all images.
    #[track_caller]
    pub fn images(&self) -> Vec<String> {
        self.list("for it in docker_images() { for tag in it.tags { print(tag); } }")
    }

    #[track_caller]
    fn list(&self, text: &str) -> Vec<String> {
        let script = self.deployer.file("list.rhai", text);
        let mut names: Vec<_> = self.deployer.run(&script, &[]).ok().stdout.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Returns the names of the files in a folder of the local engine, such as `locks`. Ignores temporary files, which a
    /// killed process may leave.
    pub fn files_in(&self, folder: &str) -> Vec<String> {
        let names = fs::read_dir(self.deployer.state().join("local").join(folder)).unwrap();
        let names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let script = self.deployer.file(
            "sweep.rhai",
            "for container in docker_list(#{all: true}) { docker_remove(container, #{force: true, disposable: true}); }",
        );
        self.deployer.run(&script, &[]);
    }
}
