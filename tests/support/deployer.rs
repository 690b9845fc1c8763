//! Runs the binary in a hermetic environment: cleared variables, its own home and state folder, no colour, a fixed width.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::crashing_deployer::{CRASH_AT, crashing_deployer};
use super::deadline::until;
use super::watched_run::WatchedRun;

/// Longer than any deploy of the tests.
const TIMEOUT: Duration = Duration::from_secs(180);

pub struct Deployer {
    engine: &'static str,
    home: TempDir,
    state: PathBuf,
    environment: Vec<(String, String)>,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that is running.
pub struct Running {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl Deployer {
    pub fn docker() -> Self {
        Self::new("docker")
    }

    pub fn local() -> Self {
        Self::new("local")
    }

    fn new(engine: &'static str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("state");
        Self { engine, home, state, environment: Vec::new() }
    }

    /// `docker` or `local`.
    pub fn engine(&self) -> &'static str {
        self.engine
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn state_in(mut self, folder: &Path) -> Self {
        self.state = folder.to_owned();
        self
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The working directory of the commands. It holds their scripts and configuration.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into the home folder and returns its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.home().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs `deployer run SCRIPT ...` on this engine.
    pub fn run(&self, script: &str, rest: &[&str]) -> Finished {
        self.start_run(script, rest).wait()
    }

    /// Starts `deployer run SCRIPT ...` in the background.
    pub fn start_run(&self, script: &str, rest: &[&str]) -> Running {
        let mut args = vec!["run", script, "--engine", self.engine];
        args.extend(rest);
        self.start(&args)
    }

    /// Writes `config` to a file and runs the script with it.
    pub fn deploy(&self, script: &str, config: &str) -> Finished {
        self.start_deploy(script, config).wait()
    }

    pub fn start_deploy(&self, script: &str, config: &str) -> Running {
        let file = self.file("deploy.toml", config);
        self.start_run(script, &["--config", &file])
    }

    /// Runs any command.
    pub fn call(&self, args: &[&str]) -> Finished {
        self.start(args).wait()
    }

    pub fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().unwrap();
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        Running { child, stdout, stderr }
    }

    /// Returns a command that the test can change before it starts it.
    pub fn command(&self, args: &[&str]) -> Command {
        self.isolated_command(Path::new(env!("CARGO_BIN_EXE_deployer")), args)
    }

    /// Returns the same command for the program that stops at a journal entry, such as `before:12` or `after:12`.
    pub fn crashing_command(&self, args: &[&str], at: &str) -> Command {
        let mut command = self.isolated_command(crashing_deployer(), args);
        command.env(CRASH_AT, at);
        command
    }

    fn isolated_command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(["PATH", "DOCKER_HOST"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("HOME", self.home())
            .env("DEPLOYER_STATE", &self.state)
            .env("NO_COLOR", "1")
            // Wide enough that the length of a temporary path never wraps a message.
            .env("COLUMNS", "400")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts `deployer run SCRIPT --format json ...` and reads its events as they arrive.
    pub fn watch_run(&self, script: &str, rest: &[&str]) -> WatchedRun {
        let mut args = vec!["run", script, "--engine", self.engine, "--format", "json"];
        args.extend(rest);
        WatchedRun::start(self.command(&args))
    }

    /// Returns the journal entries of the latest run, oldest first.
    pub fn latest_run(&self) -> Vec<Value> {
        let runs = self.call(&["runs", "--format", "json"]).ok();
        let first: Value = serde_json::from_str(runs.stdout.lines().next().unwrap_or("null")).unwrap();
        let id = first["run"].as_str().unwrap_or_else(|| panic!("no run id in `{}`", runs.stdout)).to_owned();
        let shown = self.call(&["show", &id, "--format", "json"]).ok();
        shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the kinds of the effects of the latest run, in order.
    pub fn latest_effects(&self) -> Vec<String> {
        let entries = self.latest_run();
        entries.iter().filter_map(|entry| Some(entry["intent"]["kind"].as_str()?.to_owned())).collect()
    }
}

/// Reads a pipe to its end on a thread, so that the program never blocks on a full pipe.
fn drain(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the text. The part before it is still useful.
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits until the command ends.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let status = until("the end of `deployer`", TIMEOUT, || self.child.try_wait().unwrap());
        // A child process that still runs could hold the pipes open forever.
        let text = |pipe: &mpsc::Receiver<String>| pipe.recv_timeout(Duration::from_secs(10)).unwrap_or_default();
        Finished { code: status.code().unwrap_or(-1), stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only needed after a failed test. Killing a process that has ended does nothing.
        let _ = self.child.kill();
    }
}

impl Finished {
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The whole output: standard output, then standard error.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.said().contains(text), "no `{text}` in\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}
