//! A visitor: requests at a steady rate, whether or not the answers come, and what was noticed of a deploy.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http;

/// Sends until it is asked what it saw.
pub struct Visitor {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    sender: JoinHandle<()>,
}

/// What a visitor noticed.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub sent: u64,
    /// No answer, or one that is not 2xx.
    pub failed: u64,
    pub slowest: Duration,
    /// The longest time between two good answers that came one after the other.
    pub longest_gap: Duration,
    /// Good answers by the version that gave them, in order of their first.
    pub versions: BTreeMap<String, u64>,
    /// The first few failures, in words.
    pub failures: Vec<String>,
    last_good: Option<Instant>,
}

const FAILURES_KEPT: usize = 5;

impl Visitor {
    /// Asks for `path` so often per second.
    pub fn start(port: u16, path: &'static str, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sender = thread::spawn({
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            move || send(port, path, Duration::from_secs(1) / per_second, &stop, &seen)
        });
        Self { stop, seen, sender }
    }

    /// Ends the visit, when every request that is under way has its answer.
    pub fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap();
        self.seen.lock().unwrap().clone()
    }

    /// What was seen up to now.
    pub fn look(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

fn send(port: u16, path: &str, pause: Duration, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let begin = Instant::now();
    // One thread a request: a slow answer must not hold back the next request.
    thread::scope(|scope| {
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            scope.spawn(|| visit(port, path, seen));
            thread::sleep((begin + pause * (n + 1)).saturating_duration_since(Instant::now()));
        }
    });
}

fn visit(port: u16, path: &str, seen: &Mutex<Seen>) {
    let begin = Instant::now();
    let answer = http::get(port, path);
    let end = Instant::now();
    let mut seen = seen.lock().unwrap();
    seen.sent += 1;
    seen.slowest = seen.slowest.max(end - begin);
    match answer {
        Ok(answer) if (200..300).contains(&answer.status) => {
            *seen.versions.entry(answer.version).or_default() += 1;
            if let Some(last) = seen.last_good {
                seen.longest_gap = seen.longest_gap.max(end.saturating_duration_since(last));
            }
            seen.last_good = Some(end);
        }
        bad => {
            seen.failed += 1;
            if seen.failures.len() < FAILURES_KEPT {
                seen.failures
                    .push(bad.map_or_else(|why| why.to_string(), |answer| format!("status {}", answer.status)));
            }
        }
    }
}
