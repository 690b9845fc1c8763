//! The fixture of these tests: a proxy process on a free port, with its files in a temporary folder.

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
use deployer::proxy::command::{Command, CommandReply, ProxyStatus, Refusal};

use crate::support::deadline::until;
use crate::support::ports::free_port;

pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A running proxy, which is killed on drop.
pub struct TestProxy {
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub client: Client,
    child: Child,
    arguments: Vec<String>,
    epoch: AtomicU64,
    /// Processes that took over; they are killed on drop too.
    pub successors: Mutex<Vec<u32>>,
}

/// A free port.
pub fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

impl TestProxy {
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, free_address(), arguments).await
    }

    pub async fn start_in(folder: tempfile::TempDir, address: SocketAddr, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let child = spawn(folder.path(), &arguments);
        let client = Client::new(folder.path().join("control.sock"));
        let mut proxy =
            Self { folder, address, client, child, arguments, epoch: AtomicU64::new(1), successors: Mutex::default() };
        proxy.wait_ready().await;
        proxy
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn wait_ready(&mut self) {
        let begun = std::time::Instant::now();
        while self.client.ask(&Command::Status, TIMEOUT).await.is_err() {
            assert!(begun.elapsed() < TIMEOUT, "no proxy: {}", self.stderr());
            assert!(self.child.try_wait().unwrap().is_none(), "the proxy ended: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the proxy wrote to standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for the end of the process; returns its exit code.
    pub fn ended(&mut self, timeout: Duration) -> Option<i32> {
        until("the end of the proxy", timeout, || self.child.try_wait().unwrap()).code()
    }

    /// Starts the proxy again with the same files.
    pub async fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.arguments);
        self.wait_ready().await;
    }

    pub fn next_epoch(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst)
    }

    pub async fn ask(&self, command: Command) -> Result<CommandReply, Refusal> {
        self.client.ask(&command, TIMEOUT).await.unwrap()
    }

    pub async fn done(&self, command: Command) -> CommandReply {
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

    /// Declares a route for every host and path to these targets.
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
        let CommandReply::Drained(drained) = self.done(command).await else { panic!("no drain") };
        drained
    }

    pub async fn stats(&self) -> TrafficStats {
        let command = Command::Stats { service: "web".to_owned(), window: DurationText::secs(600) };
        let CommandReply::Stats(stats) = self.done(command).await else { panic!("no stats") };
        stats
    }

    pub async fn show(&self) -> Vec<RouteView> {
        let CommandReply::Routes(routes) = self.done(Command::Show).await else { panic!("no routes") };
        routes
    }

    pub async fn status(&self) -> ProxyStatus {
        let CommandReply::Status(status) = self.done(Command::Status).await else { panic!("no status") };
        *status
    }
}

impl Drop for TestProxy {
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

/// The command that starts the proxy with its files in `folder`.
pub fn command(folder: &Path, arguments: &[String]) -> Process {
    let stderr = File::options().create(true).append(true).open(folder.join("stderr")).unwrap();
    let mut process = Process::new(env!("CARGO_BIN_EXE_deployer"));
    process
        .args(["proxy", "run", "--threads", "2", "--control"])
        .arg(folder.join("control.sock"))
        .arg("--state")
        .arg(state_file(folder))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr);
    process
}

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    command(folder, arguments).spawn().unwrap()
}
