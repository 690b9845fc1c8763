//! A proxy as its own process, on a free port, with its files in a folder of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deployer::base::duration_text::DurationText;
use deployer::effect::traffic::{Drained, Route, RouteView, Target, TargetCheck, Targets, TrafficStats};
use deployer::proxy::Client;
use deployer::proxy::command::{Command, Refusal, Reply, Status};

use super::deadline::until;
use super::ports::free_port;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Ends when it is dropped.
pub struct Rig {
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub client: Client,
    child: Child,
    arguments: Vec<String>,
    epoch: AtomicU64,
    /// Processes that took over; they end with the rig too.
    pub successors: Mutex<Vec<u32>>,
}

/// Nobody listens there at this moment.
pub fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

impl Rig {
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, free_address(), arguments).await
    }

    pub async fn start_in(folder: tempfile::TempDir, address: SocketAddr, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(folder.path(), &arguments);
        let client = Client::new(folder.path().join("control.sock"));
        let mut rig =
            Self { folder, address, client, child, arguments, epoch: AtomicU64::new(1), successors: Mutex::default() };
        rig.wait_ready().await;
        rig
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn wait_ready(&mut self) {
        let begun = std::time::Instant::now();
        while self.client.ask(&Command::Status, PATIENCE).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "no proxy: {}", self.talk());
            assert!(self.child.try_wait().unwrap().is_none(), "the proxy ended: {}", self.talk());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it said on standard error.
    pub fn talk(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("talk")).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Its exit code, when it ends within `patience`.
    pub fn ended(&mut self, patience: Duration) -> Option<i32> {
        until("the end of the proxy", patience, || self.child.try_wait().unwrap()).code()
    }

    /// Once more, with the same files.
    pub async fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.arguments);
        self.wait_ready().await;
    }

    pub fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst)
    }

    pub async fn ask(&self, command: Command) -> Result<Reply, Refusal> {
        self.client.ask(&command, PATIENCE).await.unwrap()
    }

    pub async fn done(&self, command: Command) -> Reply {
        self.ask(command).await.unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    pub fn route(&self, service: &str) -> Route {
        Route {
            service: service.to_owned(),
            address: self.address.to_string(),
            also: Vec::new(),
            host: None,
            path_prefix: None,
            check: TargetCheck { interval: DurationText::millis(100), ..TargetCheck::default() },
        }
    }

    /// A route for every host and path, to these targets.
    pub async fn serve(&self, targets: &[(&str, SocketAddr, u32)]) {
        self.serve_as(self.route("web"), targets).await;
    }

    pub async fn serve_as(&self, route: Route, targets: &[(&str, SocketAddr, u32)]) {
        let command = Command::RouteSet { epoch: self.next_epoch(), route, step: Some(step(targets)) };
        self.done(command).await;
    }

    pub async fn step(&self, step: Targets) {
        self.done(Command::TargetsSet { epoch: self.next_epoch(), service: "web".to_owned(), step }).await;
    }

    pub async fn switch(&self, target: &str) {
        let (service, target) = ("web".to_owned(), target.to_owned());
        self.done(Command::Switch { epoch: self.next_epoch(), service, target }).await;
    }

    pub async fn drain(&self, target: &str, deadline: Duration) -> Drained {
        let command = Command::Drain {
            epoch: self.next_epoch(),
            service: "web".to_owned(),
            target: target.to_owned(),
            deadline: DurationText(deadline),
            streams_deadline: None,
        };
        let Reply::Drained(drained) = self.done(command).await else { panic!("no drain") };
        drained
    }

    pub async fn stats(&self) -> TrafficStats {
        let command = Command::Stats { service: "web".to_owned(), window: DurationText::secs(600) };
        let Reply::Stats(stats) = self.done(command).await else { panic!("no stats") };
        stats
    }

    pub async fn show(&self) -> Vec<RouteView> {
        let Reply::Routes(routes) = self.done(Command::Show).await else { panic!("no routes") };
        routes
    }

    pub async fn status(&self) -> Status {
        let Reply::Status(status) = self.done(Command::Status).await else { panic!("no status") };
        *status
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for pid in self.successors.lock().unwrap().drain(..) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn step(targets: &[(&str, SocketAddr, u32)]) -> Targets {
    let target = |(name, address, weight): &(&str, SocketAddr, u32)| Target {
        name: (*name).to_owned(),
        address: address.to_string(),
        weight: *weight,
    };
    Targets { targets: targets.iter().map(target).collect(), sticky: false, canary: None }
}

pub fn state_file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

/// The program with its files in `folder`.
pub fn command(folder: &Path, arguments: &[String]) -> Process {
    let talk = File::options().create(true).append(true).open(folder.join("talk")).unwrap();
    let mut process = Process::new(env!("CARGO_BIN_EXE_deployer"));
    process
        .args(["proxy", "run", "--threads", "2", "--control"])
        .arg(folder.join("control.sock"))
        .arg("--state")
        .arg(state_file(folder))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(talk);
    process
}

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    command(folder, arguments).spawn().unwrap()
}
