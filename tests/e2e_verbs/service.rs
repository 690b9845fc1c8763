//! A small web service on a local engine of its own, deployed by the shipped blue-green script.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::deadline::until;
use crate::support::deployer::{Deployer, Finished};
use crate::support::http;
use crate::support::ports::free_port;
use crate::support::watched_run::WatchedRun;

const PATIENCE: Duration = Duration::from_secs(20);

const DOCKERFILE: &str = r#"FROM scratch
ARG VERSION
ENV VERSION=${VERSION}
COPY app.py /app/
CMD ["python3", "-u", "/app/app.py"]
"#;

/// Answers with its version; `STATUS` makes it sick, and `SLOW_STOP` lets it take its time after SIGTERM.
const APP: &str = r"
import os, signal, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def stop(number, frame):
    threading.Thread(target=lambda: (time.sleep(float(os.environ.get('SLOW_STOP', '0'))), os._exit(0))).start()

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ.get('STATUS', '200')))
        self.send_header('X-Version', os.environ['VERSION'])
        self.send_header('Content-Length', '0')
        self.end_headers()
    def log_message(self, *args):
        pass

signal.signal(signal.SIGTERM, stop)
print('token', os.environ.get('TOKEN'))
ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), App).serve_forever()
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

    /// With version 1 deployed.
    #[track_caller]
    pub fn with_v1(more: &str) -> Self {
        let service = Self::new();
        service.deploy("v1", more).ok();
        service
    }

    pub fn app(&self) -> PathBuf {
        self.deployer.home().join("app")
    }

    /// `more`: tables and keys at the end, the first ones of `[environment]`.
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

    /// A deploy in the background, whose events are seen.
    pub fn watch(&self, version: &str, more: &str) -> WatchedRun {
        let config = self.config(version, more);
        self.deployer.watch_run("bluegreen.rhai", &["--config", &config])
    }

    /// The version that answers on the public port.
    #[track_caller]
    pub fn version(&self) -> String {
        until("an answer", PATIENCE, || http::get(self.port, "/").ok()).version
    }

    /// Asserts that this version serves and that the service's container is the only one.
    #[track_caller]
    pub fn serves_alone(&self, version: &str) {
        assert_eq!(self.version(), version);
        assert_eq!(self.containers(), ["web"]);
        assert!(http::get(self.green_port, "/").is_err(), "green is gone");
    }

    /// Names of all containers, running or not.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        let script = self.deployer.file("list.rhai", "for it in docker_list(#{all: true}) { print(it.name); }");
        let mut names: Vec<_> = self.deployer.run(&script, &[]).ok().stdout.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Names of what is in a folder of the local engine, such as `locks`; a file that was being written when its writer
    /// was killed is none.
    pub fn kept(&self, folder: &str) -> Vec<String> {
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
