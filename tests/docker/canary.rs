//! `canary.rhai` on real Docker behind the embedded proxy: unhealthy versions are withdrawn, a healthy one is promoted.
//! There are no other clients; the script sends the load.

use crate::support;

use std::time::Duration;

use support::deployer::{Deployer, Finished};
use support::docker::Docker;
use support::http;
use support::ports::{free_pair, free_port};
use support::proxy_process::ProxyProcess;
use support::until;

/// Responds after `DELAY_MS`. Every `FAIL_EVERY`-th request fails.
const APP: &str = r#"
import os, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DELAY = float(os.environ.get("DELAY_MS", "40")) / 1000
EVERY = int(os.environ.get("FAIL_EVERY", "0"))
count = 0
lock = threading.Lock()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        global count
        with lock:
            count += 1
            fails = EVERY > 0 and count % EVERY == 0
        time.sleep(DELAY)
        self.send_response(500 if fails and self.path == "/" else 200)
        self.send_header("X-Version", os.environ["APP_VERSION"])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 256

Server(("0.0.0.0", 5000), Handler).serve_forever()
"#;

struct Site {
    docker: Docker,
    deployer: Deployer,
    proxy: ProxyProcess,
    port: u16,
    green_port: u16,
    base: String,
}

impl Site {
    /// Starts version 1, without a route to it.
    fn new() -> Self {
        let docker = Docker::new();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.py"), APP).unwrap();
        let dockerfile = "FROM python:3.11-slim\nARG APP_VERSION\nENV APP_VERSION=$APP_VERSION\nCOPY app.py /\n\
            EXPOSE 5000\nCMD [\"python3\", \"/app.py\"]\n";
        std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
        let base = docker.build(folder.path(), "web", "v1");
        docker.cli(&["run", "--detach", "--name", &docker.name("web"), &base]);
        Self {
            deployer: Deployer::docker(),
            proxy: ProxyProcess::start(),
            port: free_port(),
            green_port: free_pair(),
            base,
            docker,
        }
    }

    fn deploy(&self, tag: &str, environment: &str) -> Finished {
        let image = self.docker.derive(&self.base, tag, environment);
        let config = format!(
            r#"
service = "{service}"
image = "{image}"
port = {port}
green_port = {green_port}
steps = [{{ weight = 50, stay = "4s" }}]
drain = "2s"
approval = "1s"
health = {{ path = "/health" }}
judge = {{ warm_up = "3s", look = "1s", patience = "60s", alpha = 0.01, max_latency_ratio = 1.15 }}
load = {{ rate = 100.0, path = "/" }}
{traffic}"#,
            service = self.docker.name("web"),
            port = self.port,
            green_port = self.green_port,
            traffic = self.proxy.table(),
        );
        self.deployer.deploy("canary.rhai", &config)
    }

    /// Asserts that only this version responds, and that its container is the only one.
    #[track_caller]
    fn serves_alone(&self, version: &str) {
        assert_eq!(self.docker.current_containers(), ["web"]);
        for _ in 0..20 {
            assert_eq!(http::get(self.port, "/health").unwrap().version, version);
        }
    }
}

#[test]
fn unhealthy_versions_are_withdrawn_and_a_healthy_one_is_promoted() {
    let site = Site::new();
    site.deploy("v2", "").ok();
    site.serves_alone("v2");
    assert_eq!(site.docker.inspect(&site.docker.name("web"))["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");

    let failing = site.deploy("v3", "ENV FAIL_EVERY=50").code(1).says("failed requests");
    println!("{}", failing.said());
    site.serves_alone("v2");

    let slow = site.deploy("v4", "ENV DELAY_MS=52").code(1).says("slower");
    println!("{}", slow.said());
    site.serves_alone("v2");
}

/// After the abort of a killed canary run, only the old version serves.
#[test]
fn a_killed_canary_is_rolled_back() {
    let site = Site::new();
    site.deploy("v2", "").ok();
    let image = site.docker.derive(&site.base, "v3", "");
    let config = format!(
        "service = \"{}\"\nimage = \"{image}\"\nsteps = [{{ weight = 50, stay = \"10m\" }}]\n\
         port = {}\ngreen_port = {}\nhealth = {{ path = \"/health\" }}\n{}",
        site.docker.name("web"),
        site.port,
        site.green_port,
        site.proxy.table()
    );
    let file = site.deployer.file("long.toml", &config);
    let mut run = site.deployer.watch_run("canary.rhai", &["--config", &file]);
    run.until_intended("sleep");
    let id = run.id();
    run.kill();
    let new_version = || Some(http::get(site.port, "/health").unwrap().version).filter(|version| version == "v3");
    support::deadline::until("a response of the new version", Duration::from_secs(30), new_version);
    site.deployer.call(&["abort", &id]).ok();
    site.serves_alone("v2");
    until("v2 alone", || (site.docker.current_containers() == ["web"]).then_some(()));
}
