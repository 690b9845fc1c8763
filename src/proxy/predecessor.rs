//! The process before this one, while it still ends: it follows every change, and says what it has in flight.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use super::state::State;
use super::steering::Steering;

/// A longer line is none.
const LINE_BYTES: u64 = 64 * 1024 * 1024;
/// Until it follows; one that is stuck does not hold up commands for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a process that ends says, again and again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The last change that it follows.
    pub follows: u64,
    /// Requests and streams, by target.
    pub here: BTreeMap<String, (u64, u64)>,
}

/// A change of this process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Change {
    pub number: u64,
    pub state: State,
}

/// Nobody, or the one that is ending.
#[derive(Debug)]
pub struct Predecessor {
    stream: Mutex<Option<(StdStream, u64)>>,
    follows: watch::Sender<u64>,
}

impl Default for Predecessor {
    fn default() -> Self {
        Self { stream: Mutex::default(), follows: watch::Sender::new(0) }
    }
}

impl Predecessor {
    /// Listens to it until it is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn attend(steering: &Arc<Steering>, stream: StdStream) -> io::Result<()> {
        let own = &steering.predecessor;
        *own.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some((stream.try_clone()?, 0));
        let (steering, runtime) = (Arc::clone(steering), tokio::runtime::Handle::current());
        std::thread::Builder::new().name("handover".to_owned()).spawn(move || {
            let mut lines = BufReader::new(stream);
            while let Some(report) = read_line::<Report>(&mut lines) {
                runtime.block_on(steering.set_elsewhere(&report.here));
                steering.predecessor.follows.send_replace(report.follows);
            }
            *steering.predecessor.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
            runtime.block_on(steering.set_elsewhere(&BTreeMap::new()));
            steering.predecessor.follows.send_replace(u64::MAX);
        })?;
        Ok(())
    }

    /// It has not ended yet.
    pub fn is_there(&self) -> bool {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Tells it of a change; gives the number to wait for.
    pub fn tell(&self, state: &State) -> Option<u64> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let (to, number) = stream.as_mut()?;
        *number += 1;
        write_line(to, &Change { number: *number, state: state.clone() }).ok()?;
        Some(*number)
    }

    /// Until it follows, or is gone.
    pub async fn follows(&self, number: Option<u64>) {
        let Some(number) = number else { return };
        let mut follows = self.follows.subscribe();
        // Whoever is stuck serves nobody new either.
        drop(timeout(PATIENCE, follows.wait_for(|follows| *follows >= number)).await);
    }
}

/// `None`: the other side is gone, or talks nonsense.
pub fn read_line<T: for<'de> Deserialize<'de>>(lines: &mut BufReader<StdStream>) -> Option<T> {
    let mut line = String::new();
    lines.take(LINE_BYTES).read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    serde_json::from_str(&line).ok()
}

/// # Errors
/// When the other side is gone.
pub fn write_line(mut stream: &StdStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}
