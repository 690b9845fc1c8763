//! The fixture for the local world: a temporary folder, and processes that are killed when the test ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::base::seq::Branch;
use deployer::base::vault::Vault;
use deployer::effect::container::*;
use deployer::effect::image::{BuildImage, Image};
use deployer::effect::{Effect, EffectError, Request};
use deployer::world::local::{LocalWorld, Shim};
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::{Call, World};
use serde_json::{Value, json};

/// A web app that needs Python and nothing else.
#[allow(dead_code, reason = "each test file uses a part")]
pub const WEB: &[(&str, &str)] = &[
    (
        "Dockerfile",
        "# syntax=docker/dockerfile:1\nFROM scratch\nARG VERSION=v1\nENV VERSION=${VERSION} GREETING=hi\nWORKDIR /app\n\
         COPY *.py ./\nEXPOSE 5000\nCMD [\"python3\", \"-u\", \"/app/server.py\"]\n",
    ),
    (
        "server.py",
        "import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\
         class App(BaseHTTPRequestHandler):\n    def do_GET(self):\n        body = f\"{os.environ['GREETING']} from {os.environ['VERSION']}\".encode()\n\
         \x20       self.send_response(200)\n        self.send_header('Content-Length', str(len(body)))\n        self.end_headers()\n        self.wfile.write(body)\n\
         HTTPServer(('127.0.0.1', int(os.environ['PORT'])), App).serve_forever()\n",
    ),
];

pub struct LocalFixture {
    pub folder: Arc<Folder>,
    pub world: LocalWorld,
    pub call: Call,
}

/// A state folder. Kills the remaining processes when the last world of the folder is dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path().join("state/containers")).into_iter().flatten().flatten() {
            let _ = fs::write(entry.path().join("stop-requested"), "");
        }
        for pid in processes_of(self.path()) {
            kill_9(u64::from(pid));
        }
    }
}

#[allow(dead_code, reason = "each test file uses its part")]
impl LocalFixture {
    pub fn new() -> Self {
        Self::in_folder(
            Arc::new(Folder(tempfile::tempdir().unwrap())),
            "0000000001",
            ProcessIdentity::this_process().unwrap(),
        )
    }

    pub async fn with_empty_image() -> Self {
        let local = Self::new();
        local.build("empty", &[("Dockerfile", "FROM scratch\nLABEL kind=empty\n")]).await;
        local
    }

    pub fn in_folder(folder: Arc<Folder>, run: &str, holder: ProcessIdentity) -> Self {
        let shim = Shim { program: env!("CARGO_BIN_EXE_deployer").into(), args: vec!["local-shim".into()] };
        let world = LocalWorld::open(folder.path().join("state"), shim, holder).unwrap();
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "s3cret-0f-the-test".into()));
        let call = Call::silent(run.parse::<RunId>().unwrap(), Branch::root().next(), Arc::new(vault));
        Self { folder, world, call }
    }

    /// Another run on the same state.
    pub fn another_run(&self) -> Self {
        Self::in_folder(self.folder.clone(), "0000000002", ProcessIdentity::this_process().unwrap())
    }

    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, EffectError> {
        let effect: Effect = request.into();
        let outcome = self.world.perform(&self.call, &effect).await?;
        Ok(serde_json::from_value(outcome.value()).unwrap())
    }

    pub async fn build(&self, tag: &str, files: &[(&str, &str)]) -> Image {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        self.build_folder(tag, folder.path()).await.unwrap()
    }

    pub async fn build_folder(&self, tag: &str, folder: &Path) -> Result<Image, EffectError> {
        let request = json!({"context": folder, "tag": tag});
        self.ask(serde_json::from_value::<BuildImage>(request).unwrap()).await
    }

    pub async fn inspect(&self, name: &str) -> Container {
        self.ask(InspectContainer { container: name.into(), missing_ok: false }).await.unwrap().unwrap()
    }

    pub async fn list_all(&self) -> Vec<Container> {
        self.ask(ListContainers { all: true, ..ListContainers::default() }).await.unwrap()
    }

    pub async fn remove(&self, name: &str) {
        let request = json!({"container": name, "force": true});
        assert!(self.ask(serde_json::from_value::<RemoveContainer>(request).unwrap()).await.unwrap().removed);
    }

    pub fn container_folder(&self, name: &str) -> PathBuf {
        let containers = fs::read_dir(self.folder.path().join("state/containers")).unwrap();
        containers
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                let text = fs::read_to_string(path.join("config.json")).unwrap_or_default();
                serde_json::from_str::<Value>(&text).is_ok_and(|config| config["spec"]["name"] == name)
            })
            .unwrap()
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.container_folder(name).join("log")).unwrap_or_default()
    }

    /// Waits until the log contains this text.
    pub async fn wait_for_log(&self, name: &str, text: &str) {
        until(|| self.log(name).contains(text).then_some(())).await;
    }

    pub fn state(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.container_folder(name).join("state.json")).unwrap()).unwrap()
    }

    pub fn child_pid(&self, name: &str) -> u64 {
        self.state(name)["child"]["pid"].as_u64().unwrap()
    }

    /// All running processes of the folder's containers, without supervisors.
    pub fn processes(&self) -> Vec<u32> {
        let is_supervisor = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("local-shim"))
        };
        processes_of(self.folder.path()).into_iter().filter(|pid| !is_supervisor(pid)).collect()
    }
}

/// Processes with the folder in their command line or environment.
fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    let mentions = |path: String| {
        fs::read(path)
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&format!("{folder}/state/containers")))
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| mentions(format!("/proc/{pid}/environ")) || mentions(format!("/proc/{pid}/cmdline")))
        .collect()
}

pub fn kill_9(pid: u64) {
    let _ = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(std::process::Stdio::null()).status();
}

/// Polls until there is a value. The deadline is generous, because the machine may be busy.
pub async fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3_000 {
        if let Some(found) = attempt() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no value in time");
}

/// The body of `GET /`, if a server answers.
#[allow(dead_code, reason = "each test file uses its part")]
pub fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

#[allow(dead_code, reason = "each test file uses its part")]
pub fn spec(value: Value) -> ContainerSpec {
    serde_json::from_value(value).unwrap()
}
