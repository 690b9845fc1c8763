//! What the real hosts take from this machine: free ports, another process that holds locks, and the embedded proxy.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use deployer::world::holder::Holder;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Below the range that the kernel and the engine choose from.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;
/// Of `/proc/PID/stat`, counted from the field behind the name.
const START_TIME: usize = 22 - 3;

/// Gives every caller another port that nobody listens on.
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

pub fn this_process() -> Holder {
    Holder::this_process().expect("what /proc says of this process")
}

/// A process of this machine that does nothing but live, until it is killed.
pub struct OtherProcess(Mutex<Child>);

impl OtherProcess {
    pub fn begin() -> Self {
        Self(Mutex::new(Command::new("sleep").arg("600").spawn().expect("a process")))
    }

    pub fn holder(&self) -> Holder {
        let pid = self.0.lock().unwrap().id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
        let behind_name = stat.rsplit_once(')').expect("a name in brackets").1;
        let process_start = behind_name.split_whitespace().nth(START_TIME).and_then(|ticks| ticks.parse().ok());
        Holder { pid, process_start: process_start.expect("the start time"), ..this_process() }
    }

    pub fn kill(&self) {
        let mut child = self.0.lock().unwrap();
        let _ = child.kill();
        child.wait().expect("the process ends");
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `deployer proxy run`, until it is dropped.
pub struct RunningProxy {
    folder: TempDir,
    child: Child,
}

const PROXY_PATIENCE: Duration = Duration::from_secs(30);

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
            assert!(begun.elapsed() < PROXY_PATIENCE, "no proxy within {PROXY_PATIENCE:?}");
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
