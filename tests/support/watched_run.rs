//! A run in the background whose events are read as they arrive, so that a test can act at an event of the run instead
//! of after a delay.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::deadline::until;
use super::deployer::Finished;

const TIMEOUT: Duration = Duration::from_secs(120);

pub struct WatchedRun {
    child: Child,
    lines: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    /// The lines of standard output so far.
    pub seen: Vec<String>,
}

impl WatchedRun {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let (sender, stderr) = mpsc::channel();
        let mut pipe = child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        Self { child, lines, stderr, seen: Vec::new() }
    }

    /// Waits for the next event. Returns `None` at the end of the output.
    #[track_caller]
    pub fn next(&mut self) -> Option<Value> {
        match self.lines.recv_timeout(TIMEOUT) {
            Ok(line) => {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("invalid JSON: {error}: {line}"));
                self.seen.push(line);
                Some(event)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no event for {TIMEOUT:?} after {:?}", self.seen.last()),
        }
    }

    /// Reads events until one matches, and returns it.
    #[track_caller]
    pub fn until(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + TIMEOUT;
        while let Some(event) = self.next() {
            if matches(&event) {
                return event;
            }
            assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}");
        }
        panic!("the run ended before {what}: {:#?}", self.seen);
    }

    /// Reads events until the intent of an effect of this kind, and returns it.
    #[track_caller]
    pub fn until_intended(&mut self, kind: &str) -> Value {
        self.until(kind, |event| event["intent"]["kind"] == kind)
    }

    /// Returns the run id. At least one event must have been read.
    pub fn id(&self) -> String {
        let first: Value = serde_json::from_str(self.seen.first().unwrap()).unwrap();
        first["run"].as_str().unwrap().to_owned()
    }

    /// Waits until the process has stopped itself. Returns false if it ended instead.
    #[track_caller]
    pub fn until_stopped(&mut self) -> bool {
        until_stopped(&mut self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Kills the process with SIGKILL, and returns its output.
    pub fn kill(mut self) -> Finished {
        // It may have just ended by itself.
        let _ = self.child.kill();
        self.finish()
    }

    #[track_caller]
    pub fn wait(mut self) -> Finished {
        self.finish()
    }

    /// Sends a signal repeatedly until the run ends.
    #[track_caller]
    pub fn wait_signalling(mut self, signal: Signal) -> Finished {
        until("the end of `deployer`", TIMEOUT, || {
            self.signal(signal);
            self.child.try_wait().unwrap()
        });
        self.finish()
    }

    fn finish(&mut self) -> Finished {
        let status = until("the end of `deployer`", TIMEOUT, || self.child.try_wait().unwrap());
        while self.next().is_some() {}
        let stderr = self.stderr.recv_timeout(TIMEOUT).unwrap_or_default();
        let stdout = self.seen.iter().map(|line| format!("{line}\n")).collect();
        Finished { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

/// Waits until a process has stopped itself. Returns false if it ended instead.
#[track_caller]
pub fn until_stopped(child: &mut Child) -> bool {
    let stat = format!("/proc/{}/stat", child.id());
    until("the process to stop", TIMEOUT, || {
        let ended = child.try_wait().unwrap().is_some();
        let state = std::fs::read_to_string(&stat).unwrap_or_default();
        let state = state.rsplit(") ").next().unwrap_or_default().to_owned();
        if state.starts_with('T') { Some(true) } else { ended.then_some(false) }
    })
}

impl Drop for WatchedRun {
    fn drop(&mut self) {
        // Only needed after a failed test. Killing a process that has ended does nothing.
        let _ = self.child.kill();
    }
}
