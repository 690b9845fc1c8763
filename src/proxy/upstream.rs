//! A target at work: who is in flight, its idle connections, its health, what it did. Knows no route and no weight.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::limits::{IDLE_AGE, IDLE_AGE_UNSAFE, IDLE_MAX};
use super::window::{End, Sum, Window};
use super::wire::Wire;
use crate::effect::traffic::{TargetCheck, TargetStats};

/// The clock of the windows.
pub fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// One target, for as long as a plan names it or a request is on its way to it.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub address: String,
    /// The address, when it is a number already.
    pub socket: Option<SocketAddr>,
    pub check: RwLock<TargetCheck>,
    in_flight: AtomicU64,
    streams: AtomicU64,
    /// What the process before this one has still in flight to it.
    elsewhere: Mutex<(u64, u64)>,
    healthy: AtomicBool,
    streak: Mutex<Streak>,
    /// Counts the cuts: a request claimed before the last one must not go on.
    cuts: AtomicU64,
    /// The tasks that drive its connections.
    drivers: Mutex<Vec<AbortHandle>>,
    stream_cut: Mutex<CancellationToken>,
    /// One for each thread.
    lanes: Box<[Lane]>,
    totals: [AtomicU64; 7],
}

#[derive(Debug, Default)]
struct Streak {
    failures: u32,
    successes: u32,
}

#[derive(Debug)]
struct Lane {
    idle: Mutex<Vec<Wire>>,
    window: Mutex<Window>,
}

/// How requests ended since the process began; the labels of the metric.
pub const ENDS: [&str; 7] = ["answered", "server_error", "connect", "timeout", "broken", "cut", "client"];

fn index(end: End) -> usize {
    match end {
        End::Answered(status) => usize::from(status >= 500),
        End::Connect => 2,
        End::Timeout => 3,
        End::Broken => 4,
        End::Cut => 5,
        End::Client => 6,
    }
}

impl Upstream {
    pub fn new(name: &str, address: &str, check: TargetCheck, threads: usize) -> Self {
        let lane = || Lane { idle: Mutex::new(Vec::new()), window: Mutex::new(Window::default()) };
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            socket: address.parse().ok(),
            check: RwLock::new(check),
            in_flight: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            elsewhere: Mutex::new((0, 0)),
            healthy: AtomicBool::new(true),
            streak: Mutex::default(),
            cuts: AtomicU64::new(0),
            drivers: Mutex::default(),
            stream_cut: Mutex::default(),
            lanes: (0..threads.max(1)).map(|_| lane()).collect(),
            totals: Default::default(),
        }
    }

    /// Counts a request in. To be called under the lock of the plan that named this target: after the plan has changed
    /// and that lock was taken, nobody is between choosing and counting.
    pub fn claim(self: &Arc<Self>, thread: usize) -> Claim {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Claim {
            upstream: Arc::clone(self),
            thread: thread % self.lanes.len(),
            cut: self.cuts.load(Ordering::Acquire),
            ended: false,
        }
    }

    /// Requests, here and in the process before this one.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Acquire) + self.elsewhere().0
    }

    /// Upgraded streams, here and in the process before this one.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Acquire) + self.elsewhere().1
    }

    fn elsewhere(&self) -> (u64, u64) {
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_elsewhere(&self, in_flight: u64, streams: u64) {
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) = (in_flight, streams);
    }

    /// Breaks all requests; says how many there were.
    pub fn cut_requests(&self) -> u64 {
        let cut = self.in_flight();
        self.cuts.fetch_add(1, Ordering::AcqRel);
        for driver in std::mem::take(&mut *self.drivers.lock().unwrap_or_else(PoisonError::into_inner)) {
            driver.abort();
        }
        cut
    }

    /// Breaks all upgraded streams; says how many there were.
    pub fn cut_streams(&self) -> u64 {
        let cut = self.streams();
        std::mem::take(&mut *self.stream_cut.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
        cut
    }

    /// Remembers the task of a connection, so that it can be cut.
    pub fn drive(&self, driver: AbortHandle) {
        let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
        if drivers.len() == drivers.capacity() {
            drivers.retain(|one| !one.is_finished());
        }
        drivers.push(driver);
    }

    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Counts the result of a check, or a connection that could not be made; says whether its health changed.
    pub fn checked(&self, good: bool) -> bool {
        let (fall, rise) = {
            let check = self.check.read().unwrap_or_else(PoisonError::into_inner);
            (check.fall, check.rise)
        };
        let mut streak = self.streak.lock().unwrap_or_else(PoisonError::into_inner);
        if good {
            *streak = Streak { failures: 0, successes: streak.successes.saturating_add(1) };
            streak.successes >= rise && !self.healthy.swap(true, Ordering::Relaxed)
        } else {
            *streak = Streak { failures: streak.failures.saturating_add(1), successes: 0 };
            streak.failures >= fall && self.healthy.swap(false, Ordering::Relaxed)
        }
    }

    pub fn totals(&self) -> [u64; 7] {
        self.totals.each_ref().map(|total| total.load(Ordering::Relaxed))
    }

    /// What it did in the last `seconds`, the current one included.
    pub fn stats(&self, seconds: u64) -> TargetStats {
        let from = (uptime().as_secs() + 1).saturating_sub(seconds);
        let mut sum = Sum::default();
        for lane in &self.lanes {
            let window = lane.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.add_to(&mut sum, from);
        }
        TargetStats { in_flight: self.in_flight(), streams: self.streams(), ..sum.stats() }
    }

    /// Closes connections that were idle for too long.
    pub fn tidy(&self) {
        for lane in &self.lanes {
            let mut idle = lane.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|wire| wire.usable(IDLE_AGE));
        }
    }
}

/// One request's place at a target. Counted out when it is dropped.
#[derive(Debug)]
pub struct Claim {
    upstream: Arc<Upstream>,
    thread: usize,
    cut: u64,
    ended: bool,
}

impl Claim {
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The target was cut since this request came to it.
    pub fn was_cut(&self) -> bool {
        self.cut != self.upstream.cuts.load(Ordering::Acquire)
    }

    /// An idle connection. `repeatable`: it does no harm when it breaks under the request.
    pub fn idle_wire(&self, repeatable: bool) -> Option<Wire> {
        let age = if repeatable { IDLE_AGE } else { IDLE_AGE_UNSAFE };
        let mut idle = self.upstream.lanes[self.thread].idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(wire) = idle.pop() {
            if wire.usable(age) {
                return Some(wire);
            }
        }
        None
    }

    pub fn give_back(&self, wire: Wire) {
        if self.was_cut() {
            return;
        }
        let mut idle = self.upstream.lanes[self.thread].idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(wire.rested());
        }
    }

    /// Writes down how it ended.
    pub fn end(&mut self, end: End, took: Duration) {
        self.ended = true;
        self.upstream.totals[index(end)].fetch_add(1, Ordering::Relaxed);
        let lane = &self.upstream.lanes[self.thread];
        lane.window.lock().unwrap_or_else(PoisonError::into_inner).record(uptime().as_secs(), end, took);
    }

    /// Goes on as an upgraded stream: no request any more, drained on a deadline of its own.
    pub fn into_stream(mut self, took: Duration) -> StreamClaim {
        self.upstream.streams.fetch_add(1, Ordering::AcqRel);
        self.end(End::Answered(101), took);
        let cut = self.upstream.stream_cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        StreamClaim { upstream: Arc::clone(&self.upstream), cut }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.ended {
            self.end(End::Client, Duration::ZERO);
        }
        self.upstream.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An upgraded stream's place at a target.
#[derive(Debug)]
pub struct StreamClaim {
    upstream: Arc<Upstream>,
    pub cut: CancellationToken,
}

impl Drop for StreamClaim {
    fn drop(&mut self) {
        self.upstream.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
