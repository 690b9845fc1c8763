//! One target: its requests in flight, idle connections, health and statistics. Knows no route and no weight.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::limits::{IDLE_AGE, IDLE_AGE_UNSAFE, IDLE_MAX};
use super::target_connection::TargetConnection;
use super::window::{RequestEnd, Window, WindowSum};
use crate::effect::traffic::{TargetCheck, TargetStats};

/// Returns the time since the first call, which is the clock of the statistics.
pub fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// One target, for as long as a balancer names it or a request to it is in flight.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub address: String,
    /// The address, where it is numeric.
    pub socket: Option<SocketAddr>,
    pub check: RwLock<TargetCheck>,
    in_flight: AtomicU64,
    streams: AtomicU64,
    /// Requests and streams that the previous process still has in flight.
    predecessor: Mutex<(u64, u64)>,
    healthy: AtomicBool,
    streak: Mutex<CheckStreak>,
    /// The number of cuts so far. A request that began before the last one must not continue.
    cuts: AtomicU64,
    /// The tasks of its connections.
    connection_tasks: Mutex<Vec<AbortHandle>>,
    stream_cut: Mutex<CancellationToken>,
    /// One for each thread, so that threads do not wait for each other.
    per_thread: Box<[PerThread]>,
    totals: [AtomicU64; ENDS.len()],
}

/// Consecutive results of health checks.
#[derive(Debug, Default)]
struct CheckStreak {
    failures: u32,
    successes: u32,
}

/// The part of a target that belongs to one serving thread.
#[derive(Debug)]
struct PerThread {
    idle: Mutex<Vec<TargetConnection>>,
    window: Mutex<Window>,
}

/// How requests can end; the labels of the metric.
pub const ENDS: [&str; 8] = ["answered", "server_error", "connect", "timeout", "broken", "cut", "client", "proxy"];

fn index(end: RequestEnd) -> usize {
    match end {
        RequestEnd::Answered(status) => usize::from(status >= 500),
        RequestEnd::Connect => 2,
        RequestEnd::Timeout => 3,
        RequestEnd::Broken => 4,
        RequestEnd::Cut => 5,
        RequestEnd::Client => 6,
        RequestEnd::Proxy => 7,
    }
}

impl Upstream {
    pub fn new(name: &str, address: &str, check: TargetCheck, threads: usize) -> Self {
        let per_thread = || PerThread { idle: Mutex::new(Vec::new()), window: Mutex::new(Window::default()) };
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            socket: address.parse().ok(),
            check: RwLock::new(check),
            in_flight: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            predecessor: Mutex::new((0, 0)),
            healthy: AtomicBool::new(true),
            streak: Mutex::default(),
            cuts: AtomicU64::new(0),
            connection_tasks: Mutex::default(),
            stream_cut: Mutex::default(),
            per_thread: (0..threads.max(1)).map(|_| per_thread()).collect(),
            totals: Default::default(),
        }
    }

    /// Counts a request as in flight. Call it under the lock of the balancer that chose this target: once the balancer
    /// was replaced under that lock, no request is between the choice and the count.
    pub fn begin_request(self: &Arc<Self>, thread: usize) -> InFlightRequest {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlightRequest {
            upstream: Arc::clone(self),
            thread: thread % self.per_thread.len(),
            cut: self.cuts.load(Ordering::Acquire),
            ended: false,
            turn: None,
        }
    }

    /// Opens a new connection, which [`Self::cut_requests`] can abort.
    ///
    /// # Errors
    /// When the target does not accept in time.
    pub async fn connect(&self) -> io::Result<TargetConnection> {
        let (connection, task) = TargetConnection::open(&self.address, self.socket).await?;
        self.register(task);
        Ok(connection)
    }

    /// Returns the requests in flight, in this process and its predecessor.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Acquire) + self.predecessor_counts().0
    }

    /// Returns the open upgraded streams, in this process and its predecessor.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Acquire) + self.predecessor_counts().1
    }

    fn predecessor_counts(&self) -> (u64, u64) {
        *self.predecessor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_predecessor_counts(&self, in_flight: u64, streams: u64) {
        *self.predecessor.lock().unwrap_or_else(PoisonError::into_inner) = (in_flight, streams);
    }

    /// Aborts all requests and returns how many there were.
    pub fn cut_requests(&self) -> u64 {
        let cut = self.in_flight();
        self.cuts.fetch_add(1, Ordering::AcqRel);
        for task in std::mem::take(&mut *self.connection_tasks.lock().unwrap_or_else(PoisonError::into_inner)) {
            task.abort();
        }
        cut
    }

    /// Aborts all upgraded streams and returns how many there were.
    pub fn cut_streams(&self) -> u64 {
        let cut = self.streams();
        std::mem::take(&mut *self.stream_cut.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
        cut
    }

    fn register(&self, task: AbortHandle) {
        let mut tasks = self.connection_tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task);
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Records the result of a health check, or a failed connection. Returns whether the health has changed.
    pub fn record_check(&self, passed: bool) -> bool {
        let (fall, rise) = {
            let check = self.check.read().unwrap_or_else(PoisonError::into_inner);
            (check.fall, check.rise)
        };
        let mut streak = self.streak.lock().unwrap_or_else(PoisonError::into_inner);
        if passed {
            *streak = CheckStreak { failures: 0, successes: streak.successes.saturating_add(1) };
            streak.successes >= rise && !self.healthy.swap(true, Ordering::Relaxed)
        } else {
            *streak = CheckStreak { failures: streak.failures.saturating_add(1), successes: 0 };
            streak.failures >= fall && self.healthy.swap(false, Ordering::Relaxed)
        }
    }

    pub fn totals(&self) -> [u64; ENDS.len()] {
        self.totals.each_ref().map(|total| total.load(Ordering::Relaxed))
    }

    /// Returns the statistics of the last `seconds`, the current one included.
    pub fn stats(&self, seconds: u64) -> TargetStats {
        let from = (uptime().as_secs() + 1).saturating_sub(seconds);
        let mut sum = WindowSum::default();
        for own in &self.per_thread {
            let window = own.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.add_to(&mut sum, from);
        }
        TargetStats { in_flight: self.in_flight(), streams: self.streams(), ..sum.stats() }
    }

    /// Closes connections that have been idle for too long.
    pub fn close_idle(&self) {
        for own in &self.per_thread {
            let mut idle = own.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|connection| connection.is_usable(IDLE_AGE));
        }
    }
}

/// A request that counts as in flight until this is dropped.
#[derive(Debug)]
pub struct InFlightRequest {
    upstream: Arc<Upstream>,
    thread: usize,
    /// The number of cuts when the request began.
    cut: u64,
    ended: bool,
    /// Its place among the requests that waited for the end of a hold.
    pub turn: Option<OwnedSemaphorePermit>,
}

impl InFlightRequest {
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Returns whether the target's requests were cut since this one began.
    pub fn was_cut(&self) -> bool {
        self.cut != self.upstream.cuts.load(Ordering::Acquire)
    }

    /// Takes an idle connection. `repeatable`: the request may be sent again if the connection breaks.
    pub fn idle_connection(&self, repeatable: bool) -> Option<TargetConnection> {
        let age = if repeatable { IDLE_AGE } else { IDLE_AGE_UNSAFE };
        let mut idle = self.upstream.per_thread[self.thread].idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_usable(age) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for further requests, unless the target was cut or has enough idle ones.
    pub fn keep_idle(&self, connection: TargetConnection) {
        if self.was_cut() {
            return;
        }
        let mut idle = self.upstream.per_thread[self.thread].idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection.into_idle());
        }
    }

    /// Records how the request ended.
    pub fn end(&mut self, end: RequestEnd, took: Duration) {
        self.ended = true;
        self.upstream.totals[index(end)].fetch_add(1, Ordering::Relaxed);
        let own = &self.upstream.per_thread[self.thread];
        own.window.lock().unwrap_or_else(PoisonError::into_inner).record(uptime().as_secs(), end, took);
    }

    /// Turns the request into an upgraded stream, which is drained on a deadline of its own.
    pub fn into_stream(mut self, took: Duration) -> OpenStream {
        self.upstream.streams.fetch_add(1, Ordering::AcqRel);
        self.end(RequestEnd::Answered(101), took);
        let cut = self.upstream.stream_cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        OpenStream { upstream: Arc::clone(&self.upstream), cut }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        if !self.ended {
            self.end(RequestEnd::Client, Duration::ZERO);
        }
        self.upstream.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An upgraded stream that counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenStream {
    upstream: Arc<Upstream>,
    pub cut: CancellationToken,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.upstream.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
