//! The previous process while it still drains: it applies every change of this one, and reports what it has in flight.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::state::State;

/// The longest line that is read.
const LINE_BYTES: u64 = 64 * 1024 * 1024;
/// How long a command waits for the predecessor. One that hangs must not block commands for longer.
const APPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Requests and streams in flight, by target.
pub type InFlightCounts = BTreeMap<String, (u64, u64)>;

/// What a draining process reports at intervals. The field names are the protocol between two versions of the proxy.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The last change that it has applied.
    #[serde(rename = "follows")]
    pub applied: u64,
    #[serde(rename = "here")]
    pub in_flight: InFlightCounts,
}

/// A change that the new process sends to the old one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Change {
    pub number: u64,
    pub state: State,
}

/// The connection to the previous process, if one still drains.
#[derive(Debug)]
pub struct Predecessor {
    /// The stream and the number of the last change.
    stream: Mutex<Option<(StdStream, u64)>>,
    applied: watch::Sender<u64>,
}

impl Default for Predecessor {
    fn default() -> Self {
        Self { stream: Mutex::default(), applied: watch::Sender::new(0) }
    }
}

impl Predecessor {
    /// Sends changes to this stream from now on.
    pub fn attach(&self, stream: StdStream) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some((stream, 0));
    }

    /// Records that the predecessor has ended.
    pub fn detach(&self) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.applied.send_replace(u64::MAX);
    }

    /// Records the last change that the predecessor has applied.
    pub fn set_applied(&self, number: u64) {
        self.applied.send_replace(number);
    }

    /// Returns whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Sends it a change and returns the number to wait for.
    pub fn send_change(&self, state: &State) -> Option<u64> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (to, number) = stream.as_mut()?;
        *number += 1;
        write_line(to, &Change { number: *number, state: state.clone() }).ok()?;
        Some(*number)
    }

    /// Waits until it has applied the change, has ended, or the time is up.
    pub async fn wait_applied(&self, number: Option<u64>) {
        let Some(number) = number else { return };
        let mut applied = self.applied.subscribe();
        // A predecessor that hangs forwards no new requests either, so the timeout is no error.
        drop(timeout(APPLY_TIMEOUT, applied.wait_for(|applied| *applied >= number)).await);
    }
}

/// Reads one JSON line. `None`: the other side has closed the stream, or the line is invalid.
pub fn read_line<T: for<'de> Deserialize<'de>>(lines: &mut BufReader<StdStream>) -> Option<T> {
    let mut line = String::new();
    lines.take(LINE_BYTES).read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    serde_json::from_str(&line).ok()
}

/// Writes one JSON line.
///
/// # Errors
/// When the other side has closed the stream.
pub fn write_line(mut stream: &StdStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}
