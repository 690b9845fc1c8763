//! Runs the customised scripts of `examples/customised` on local engines.

use std::fs;
use std::path::Path;

use crate::support::deployer::Deployer;
use crate::support::http;
use crate::support::ports::{free_pair, free_port};
use crate::support::proxy_process::ProxyProcess;
use crate::support::until;

/// Responds with its version, or on `/seen` with the content of its data. The version `none` never listens.
const APP: &str = r"
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((open(seen).read() if self.path == '/seen' else os.environ['VERSION']).encode())

    def log_message(self, *_):
        pass

seen = os.environ.get('DATA', '.') + '/seen'
if 'DATA' in os.environ:
    open(seen, 'a').write(os.environ['VERSION'] + ' ')

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if os.environ['VERSION'] == 'none':
    sys.exit(1)
HTTPServer(('127.0.0.1', int(os.environ['PORT'])), App).serve_forever()
";

struct Fixture {
    deployer: Deployer,
}

impl Fixture {
    /// Creates an engine with the images `app:v1`, `app:v2` and `app:none`.
    fn new() -> Self {
        let fixture = Self { deployer: Deployer::local() };
        let app = fixture.deployer.home().join("app");
        fs::create_dir(&app).unwrap();
        fs::write(app.join("app.py"), APP).unwrap();
        let file = "FROM scratch\nARG VERSION\nENV VERSION=${VERSION}\nCOPY app.py /app/\nCMD [\"python3\", \"-u\", \"/app/app.py\"]\n";
        fs::write(app.join("Dockerfile"), file).unwrap();
        let build = "for v in [\"v1\", \"v2\", \"none\"] { docker_build(#{context: \"app\", tag: `app:${v}`, args: #{VERSION: v}}); }";
        fixture.deployer.file("build.rhai", build);
        fixture.deployer.run("build.rhai", &[]).ok();
        fixture
    }

    fn serves(&self, port: u16) -> String {
        until("an answer", || http::get(port, "/").ok()).body
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.deployer.file(
            "sweep.rhai",
            "for it in docker_list(#{all: true}) { docker_remove(it, #{force: true, disposable: true}); }",
        );
        self.deployer.run("sweep.rhai", &[]);
    }
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/customised").join(name).to_str().unwrap().to_owned()
}

fn set(key: &str, value: impl std::fmt::Display) -> [String; 2] {
    ["--set".into(), format!("{key}={value}")]
}

fn strs(parts: &[String]) -> Vec<&str> {
    parts.iter().map(String::as_str).collect()
}

#[test]
fn the_gate_waits_for_approval_and_rolls_back_without_it() {
    let fixture = Fixture::new();
    let (port, proof) = (free_port(), free_port());
    let args = |image: &str, tries: u32| {
        let sets = [set("service", "web"), set("image", image), set("port", port), set("proof_port", proof)];
        let more = [set("tries", tries), set("pause", "100ms")];
        sets.into_iter().chain(more).flatten().collect::<Vec<_>>()
    };
    fs::write(fixture.deployer.home().join("approved"), "").unwrap();
    fixture.deployer.run(&example("gate.rhai"), &strs(&args("app:v1", 3))).ok();
    assert_eq!(fixture.serves(port), "v1");
    fs::remove_file(fixture.deployer.home().join("approved")).unwrap();
    fixture.deployer.run(&example("gate.rhai"), &strs(&args("app:v2", 3))).code(1);
    assert_eq!(fixture.serves(port), "v1");
    let run = fixture.deployer.start_run(&example("gate.rhai"), &strs(&args("app:v2", 600)));
    assert_eq!(fixture.serves(proof), "v2");
    assert_eq!(fixture.serves(port), "v1");
    fs::write(fixture.deployer.home().join("approved"), "").unwrap();
    run.wait().ok();
    assert_eq!(fixture.serves(port), "v2");
}

#[test]
fn a_canary_step_precedes_the_cutover() {
    let fixture = Fixture::new();
    let (port, own_port) = (free_port(), free_pair());
    let proxy = ProxyProcess::start();
    let args = |image: &str| {
        let service = [set("service", "web"), set("image", image), set("address", format!("127.0.0.1:{port}"))];
        let control = set("control", proxy.control().display());
        let step = [set("own_port", own_port), set("share", 50), set("stay", "2s")];
        let load = [set("warm_up", "0s"), set("patience", "0s"), set("rate", 100)];
        service.into_iter().chain([control]).chain(step).chain(load).flatten().collect::<Vec<_>>()
    };
    fixture.deployer.run(&example("canary_step.rhai"), &strs(&args("app:v1"))).ok();
    assert_eq!(fixture.serves(port), "v1");
    let step = fixture.deployer.run(&example("canary_step.rhai"), &strs(&args("app:v2"))).ok();
    step.says("50 % of the requests").says("pass: ");
    assert_eq!(fixture.serves(port), "v2");
    fixture.deployer.run(&example("canary_step.rhai"), &strs(&args("app:none"))).code(1);
    assert_eq!(fixture.serves(port), "v2");
}

#[test]
fn the_new_version_is_checked_on_a_clone_of_the_data() {
    let fixture = Fixture::new();
    let (port, proof) = (free_port(), free_port());
    let args = |image: &str| {
        let sets = [set("service", "web"), set("image", image), set("volume", "notes")];
        sets.into_iter().chain([set("port", port), set("proof_port", proof)]).flatten().collect::<Vec<_>>()
    };
    let data = || until("the data", || http::get(port, "/seen").ok()).body;
    fixture.deployer.run(&example("cloned.rhai"), &strs(&args("app:v1"))).ok();
    fixture.deployer.run(&example("cloned.rhai"), &strs(&args("app:none"))).code(1);
    // The broken version wrote into the clone, which was removed.
    assert_eq!(data(), "v1 ");
    fixture.deployer.run(&example("cloned.rhai"), &strs(&args("app:v2"))).ok();
    assert_eq!(data(), "v1 v2 ");
    fixture.deployer.file("volumes.rhai", "for it in volume_list() { print(it.name); }");
    let volumes = fixture.deployer.run("volumes.rhai", &[]).ok().said();
    assert!(volumes.contains("notes") && !volumes.contains("notes-proof"), "{volumes}");
}

#[test]
fn services_are_deployed_and_rolled_back_together() {
    let fixture = Fixture::new();
    let (web, api) = (free_port(), free_port());
    let services = |web_image: &str, api_image: &str| {
        let list = serde_json::json!([
            {"name": "web", "image": web_image, "port": web},
            {"name": "api", "image": api_image, "port": api},
        ]);
        [set("services", list), set("patience", "10s")].concat()
    };
    fixture.deployer.run(&example("together.rhai"), &strs(&services("app:v1", "app:v1"))).ok();
    fixture.deployer.run(&example("together.rhai"), &strs(&services("app:v2", "app:none"))).code(1);
    assert_eq!((fixture.serves(web), fixture.serves(api)), ("v1".into(), "v1".into()));
    fixture.deployer.run(&example("together.rhai"), &strs(&services("app:v2", "app:v2"))).ok();
    assert_eq!((fixture.serves(web), fixture.serves(api)), ("v2".into(), "v2".into()));
}

#[test]
fn hosts_are_deployed_at_the_same_time() {
    let fixture = Fixture::new();
    let home = fixture.deployer.home().to_owned();
    // Two more engines, each with its own folder.
    let folders = ["a", "b"].map(|name| home.join(name).display().to_string());
    fs::write(
        home.join("one.rhai"),
        "let p = params(#{ name: required(\"string\", \"of the volume\") });\nvolume_create(p.name);\n",
    )
    .unwrap();
    fs::write(home.join("one.toml"), "name = \"made\"\n").unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_deployer")).parent().unwrap().display().to_string();
    let hosts = format!("local:{},local:{}", folders[0], folders[1]);
    let sets = [set("hosts", hosts), set("script", "one.rhai"), set("config", "one.toml"), set("service", "made")];
    let mut args: Vec<String> = vec!["run".into(), example("hosts.rhai"), "--engine".into(), "local".into()];
    args.extend(sets.concat());
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let output = fixture.deployer.command(&strs(&args)).env("PATH", &path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for folder in &folders {
        assert!(Path::new(folder).join("local/volumes/made").is_dir(), "{folder}");
    }
    // If a host fails, the whole deploy fails and names it.
    fs::write(home.join("one.toml"), "nome = \"made\"\n").unwrap();
    let output = fixture.deployer.command(&strs(&args)).env("PATH", &path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("2 of 2 hosts failed"));
}
