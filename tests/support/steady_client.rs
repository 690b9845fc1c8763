//! A client that sends requests at a steady rate during a deploy, regardless of the responses, and reports the results.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::http;

/// Sends requests until [`SteadyClient::finish`].
pub struct SteadyClient {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<ClientReport>>,
    sender: JoinHandle<()>,
}

/// The results of a client.
#[derive(Clone, Debug, Default)]
pub struct ClientReport {
    pub sent: u64,
    /// Requests without a 2xx response.
    pub failed: u64,
    pub slowest: Duration,
    /// The longest time between two consecutive successful responses.
    pub longest_gap: Duration,
    /// The number of successful responses by version.
    pub versions: BTreeMap<String, u64>,
    /// Descriptions of the first few failures.
    pub failures: Vec<String>,
    last_success: Option<Instant>,
}

const MAX_FAILURES: usize = 5;

impl SteadyClient {
    /// Starts to send `GET path` at this rate.
    pub fn start(port: u16, path: &'static str, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(ClientReport::default()));
        let sender = thread::spawn({
            let (stop, report) = (Arc::clone(&stop), Arc::clone(&report));
            move || send(port, path, Duration::from_secs(1) / per_second, &stop, &report)
        });
        Self { stop, report, sender }
    }

    /// Stops the client, waits for the requests in flight, and returns the results.
    pub fn finish(self) -> ClientReport {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.join().unwrap();
        self.report.lock().unwrap().clone()
    }

    /// Returns the results so far.
    pub fn report(&self) -> ClientReport {
        self.report.lock().unwrap().clone()
    }
}

fn send(port: u16, path: &str, pause: Duration, stop: &AtomicBool, report: &Mutex<ClientReport>) {
    let begin = Instant::now();
    // One thread per request, because a slow response must not delay the next request.
    thread::scope(|scope| {
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            scope.spawn(|| send_one(port, path, report));
            thread::sleep((begin + pause * (n + 1)).saturating_duration_since(Instant::now()));
        }
    });
}

fn send_one(port: u16, path: &str, report: &Mutex<ClientReport>) {
    let begin = Instant::now();
    let reply = http::get(port, path);
    let end = Instant::now();
    let mut report = report.lock().unwrap();
    report.sent += 1;
    report.slowest = report.slowest.max(end - begin);
    match reply {
        Ok(reply) if (200..300).contains(&reply.status) => {
            *report.versions.entry(reply.version).or_default() += 1;
            if let Some(last) = report.last_success {
                report.longest_gap = report.longest_gap.max(end.saturating_duration_since(last));
            }
            report.last_success = Some(end);
        }
        failure => {
            report.failed += 1;
            if report.failures.len() < MAX_FAILURES {
                report
                    .failures
                    .push(failure.map_or_else(|error| error.to_string(), |reply| format!("status {}", reply.status)));
            }
        }
    }
}
