//! What the real hosts use of this machine: free ports, another process that holds locks, and the embedded proxy.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use deployer::world::process_identity::ProcessIdentity;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Below the range from which the kernel and the engine choose ports.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
/// Index of the start time in `/proc/PID/stat`, counted from the field after the name.
const START_TIME_FIELD: usize = 22 - 3;

/// Gives every caller a different unused port.
pub struct Ports(AtomicU16);

impl Default for Ports {
    fn default() -> Self {
        let start = std::process::id() % u32::from(PORTS);
        Self(AtomicU16::new(u16::try_from(start).unwrap()))
    }
}

impl Ports {
    pub fn next(&self) -> u16 {
        (0..PORTS)
            .map(|_| FIRST_PORT + self.0.fetch_add(1, Ordering::Relaxed) % PORTS)
            .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
            .expect("a free port")
    }
}

pub fn this_process() -> ProcessIdentity {
    ProcessIdentity::this_process().expect("this process in /proc")
}

/// A process that does nothing until it is killed.
pub struct IdleProcess(Mutex<Child>);

impl IdleProcess {
    pub fn begin() -> Self {
        Self(Mutex::new(Command::new("sleep").arg("600").spawn().expect("a process")))
    }

    pub fn holder(&self) -> ProcessIdentity {
        let pid = self.0.lock().unwrap().id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is running");
        let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
        let process_start = after_name.split_whitespace().nth(START_TIME_FIELD).and_then(|ticks| ticks.parse().ok());
        ProcessIdentity { pid, process_start: process_start.expect("the start time"), ..this_process() }
    }

    pub fn kill(&self) {
        let mut child = self.0.lock().unwrap();
        let _ = child.kill();
        child.wait().expect("the process ends");
    }
}

impl Drop for IdleProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A running `deployer proxy run`, which is killed on drop.
pub struct RunningProxy {
    folder: TempDir,
    child: Child,
}

const PROXY_TIMEOUT: Duration = Duration::from_secs(30);

impl RunningProxy {
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_deployer"))
            .args(["proxy", "run", "--threads", "1", "--control"])
            .arg(folder.path().join("control.sock"))
            .arg("--state")
            .arg(folder.path().join("state.json"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a proxy");
        let begun = Instant::now();
        while UnixStream::connect(folder.path().join("control.sock")).is_err() {
            assert!(begun.elapsed() < PROXY_TIMEOUT, "no proxy within {PROXY_TIMEOUT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { folder, child }
    }

    pub fn driver(&self) -> Value {
        json!({ "kind": "proxy", "control": self.folder.path().join("control.sock") })
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
