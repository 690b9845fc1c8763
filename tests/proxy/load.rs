//! Everybody at once: new connections at a fixed rate, posts on kept connections, WebSockets, slow answers, HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::visit::{self, Echo, Failure, Kept};

/// New connections a second, whatever becomes of them.
const RATE: u64 = 100;
const KEPT: usize = 8;
const ECHOES: usize = 4;
/// Slow answers that are under way at every moment.
const SLOW: usize = 4;
const BODY: usize = 20_000;

/// Load that goes on until it is ended.
pub struct Load {
    ending: Arc<AtomicBool>,
    counts: Arc<Counts>,
    visitors: JoinSet<()>,
}

#[derive(Default)]
pub struct Counts {
    pub requests: AtomicU64,
    pub posts: AtomicU64,
    pub echoes: AtomicU64,
    pub slow: AtomicU64,
    pub second: AtomicU64,
    pub failures: Mutex<Vec<String>>,
}

impl Counts {
    fn note(&self, what: &str, count: &AtomicU64, result: Result<(), Failure>) {
        match result {
            Ok(()) => drop(count.fetch_add(1, Ordering::SeqCst)),
            Err(error) => self.failures.lock().unwrap().push(format!("{what}: {error} {:?}", error.source())),
        }
    }

    /// How many of a kind failed: `new connection`, `post`, `upgrade`, `echo`, `slow answer`, `http/2`.
    pub fn failed(&self, kind: &str) -> usize {
        self.failures.lock().unwrap().iter().filter(|failure| failure.starts_with(kind)).count()
    }

    pub fn all(&self) -> u64 {
        [&self.requests, &self.posts, &self.echoes, &self.slow, &self.second]
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .sum()
    }
}

impl Load {
    /// On `address`. `slow_ms`: what slow answers take. `echoes`: with streams that never end by themselves.
    pub fn start(address: SocketAddr, slow_ms: u64, echoes: bool) -> Self {
        let mut load = Self::start_first(address, slow_ms, echoes);
        load.visitors.spawn(second(address, Arc::clone(&load.ending), Arc::clone(&load.counts)));
        load
    }

    /// The same, over HTTP/1.1 alone.
    pub fn start_first(address: SocketAddr, slow_ms: u64, echoes: bool) -> Self {
        let (ending, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let mut visitors = JoinSet::new();
        visitors.spawn(open_loop(address, Arc::clone(&ending), Arc::clone(&counts)));
        for _ in 0..KEPT {
            visitors.spawn(post_again(address, Arc::clone(&ending), Arc::clone(&counts)));
        }
        for _ in 0..if echoes { ECHOES } else { 0 } {
            visitors.spawn(echo(address, Arc::clone(&ending), Arc::clone(&counts)));
        }
        for _ in 0..SLOW {
            visitors.spawn(slowly(address, slow_ms, Arc::clone(&ending), Arc::clone(&counts)));
        }
        Self { ending, counts, visitors }
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.counts.all()
    }

    /// Waits for everybody who is under way.
    pub async fn end(mut self) -> Arc<Counts> {
        self.ending.store(true, Ordering::SeqCst);
        while let Some(visitor) = self.visitors.join_next().await {
            visitor.unwrap();
        }
        self.counts
    }
}

fn ok(visited: &visit::Visited) -> Result<(), Failure> {
    if visited.status == StatusCode::OK { Ok(()) } else { Err(format!("{visited:?}").into()) }
}

async fn open_loop(address: SocketAddr, ending: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    while !ending.load(Ordering::SeqCst) {
        ticks.tick().await;
        let counts = Arc::clone(&counts);
        under_way.spawn(async move {
            let result = visit::visit(address, visit::get("/")).await.and_then(|visited| ok(&visited));
            counts.note("new connection", &counts.requests, result);
        });
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn post_again(address: SocketAddr, ending: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut kept = Kept::open(address).await.unwrap();
    let body = vec![b'b'; BODY];
    while !ending.load(Ordering::SeqCst) {
        let result = kept.visit(visit::post("/", body.clone())).await.and_then(|visited| {
            let whole = visited.text.ends_with(&format!(" {BODY}"));
            if whole { ok(&visited) } else { Err(format!("half a body: {visited:?}").into()) }
        });
        counts.note("post", &counts.posts, result);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn echo(address: SocketAddr, ending: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !ending.load(Ordering::SeqCst) {
        let mut stream = match Echo::open(address).await {
            Ok(stream) => stream,
            Err(error) => {
                counts.note("upgrade", &counts.echoes, Err(error));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while !ending.load(Ordering::SeqCst) {
            let result = stream.say("are you there?").await;
            let failed = result.is_err();
            counts.note("echo", &counts.echoes, result);
            if failed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn slowly(address: SocketAddr, slow_ms: u64, ending: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !ending.load(Ordering::SeqCst) {
        let path = format!("/slow?{slow_ms}");
        let result = visit::visit(address, visit::get(&path)).await.and_then(|visited| ok(&visited));
        counts.note("slow answer", &counts.slow, result);
    }
}

async fn second(address: SocketAddr, ending: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut sender = visit::second(address).await;
    while !ending.load(Ordering::SeqCst) {
        if sender.ready().await.is_err() {
            // Told to go (GOAWAY): nothing of it was sent.
            sender = visit::second(address).await;
            continue;
        }
        let result = match sender.try_send_request(visit::second_get("/")).await {
            Ok(response) => visit::whole(response).await.and_then(|visited| ok(&visited)),
            // The connection ended between `ready` and here: the request comes back whole, no byte of it was written.
            Err(failed) if failed.message().is_some() => continue,
            // It came too late: requests after the last one that the farewell names were not processed (RFC 9113, 6.8).
            Err(failed) if is_farewell(failed.error()) => continue,
            Err(failed) => Err(failed.into_error().into()),
        };
        counts.note("http/2", &counts.second, result);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_farewell(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|cause| format!("{cause:?}").contains("GoAway(b\"\", NO_ERROR, Remote)"))
}
