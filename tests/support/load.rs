//! Mixed load: new connections at a fixed rate, posts on kept-alive connections, WebSockets, slow responses, HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::async_http::{self, EchoStream, Failure, HttpResponse, KeptConnection};

/// New connections per second, regardless of their outcome.
const RATE: u64 = 100;
const KEPT_CONNECTIONS: usize = 8;
const ECHO_STREAMS: usize = 4;
/// Slow requests in flight at any moment.
const SLOW_REQUESTS: usize = 4;
const BODY_BYTES: usize = 20_000;

/// Load that continues until [`Load::finish`].
pub struct Load {
    stopping: Arc<AtomicBool>,
    counts: Arc<Counts>,
    clients: JoinSet<()>,
}

#[derive(Default)]
pub struct Counts {
    pub requests: AtomicU64,
    pub posts: AtomicU64,
    pub echoes: AtomicU64,
    pub slow: AtomicU64,
    pub http2: AtomicU64,
    pub failures: Mutex<Vec<String>>,
}

impl Counts {
    fn record(&self, what: &str, count: &AtomicU64, result: Result<(), Failure>) {
        match result {
            Ok(()) => drop(count.fetch_add(1, Ordering::SeqCst)),
            Err(error) => self.failures.lock().unwrap().push(format!("{what}: {error} {:?}", error.source())),
        }
    }

    /// Counts the failures of a kind: `new connection`, `post`, `upgrade`, `echo`, `slow answer`, `http/2`.
    pub fn failed(&self, kind: &str) -> usize {
        self.failures.lock().unwrap().iter().filter(|failure| failure.starts_with(kind)).count()
    }

    pub fn total(&self) -> u64 {
        [&self.requests, &self.posts, &self.echoes, &self.slow, &self.http2]
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .sum()
    }
}

impl Load {
    /// Sends load to `address`. Slow responses take `slow_ms`. `echoes` adds streams that never end by themselves.
    pub fn start(address: SocketAddr, slow_ms: u64, echoes: bool) -> Self {
        let mut load = Self::start_http1(address, slow_ms, echoes);
        load.clients.spawn(http2_loop(address, Arc::clone(&load.stopping), Arc::clone(&load.counts)));
        load
    }

    /// Sends the same load without HTTP/2.
    pub fn start_http1(address: SocketAddr, slow_ms: u64, echoes: bool) -> Self {
        let (stopping, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let mut clients = JoinSet::new();
        clients.spawn(connect_loop(address, Arc::clone(&stopping), Arc::clone(&counts)));
        for _ in 0..KEPT_CONNECTIONS {
            clients.spawn(post_loop(address, Arc::clone(&stopping), Arc::clone(&counts)));
        }
        for _ in 0..if echoes { ECHO_STREAMS } else { 0 } {
            clients.spawn(echo_loop(address, Arc::clone(&stopping), Arc::clone(&counts)));
        }
        for _ in 0..SLOW_REQUESTS {
            clients.spawn(slow_loop(address, slow_ms, Arc::clone(&stopping), Arc::clone(&counts)));
        }
        Self { stopping, counts, clients }
    }

    /// Returns the number of successful responses so far.
    pub fn answered(&self) -> u64 {
        self.counts.total()
    }

    /// Stops the load, waits for requests in flight, and returns the counts.
    pub async fn finish(mut self) -> Arc<Counts> {
        self.stopping.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.counts
    }
}

fn ok(response: &HttpResponse) -> Result<(), Failure> {
    if response.status == StatusCode::OK { Ok(()) } else { Err(format!("{response:?}").into()) }
}

async fn connect_loop(address: SocketAddr, stopping: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut in_flight = JoinSet::new();
    while !stopping.load(Ordering::SeqCst) {
        ticks.tick().await;
        let counts = Arc::clone(&counts);
        in_flight.spawn(async move {
            let result = async_http::send(address, async_http::get("/")).await.and_then(|response| ok(&response));
            counts.record("new connection", &counts.requests, result);
        });
        while in_flight.try_join_next().is_some() {}
    }
    in_flight.join_all().await;
}

async fn post_loop(address: SocketAddr, stopping: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut connection = KeptConnection::open(address).await.unwrap();
    let body = vec![b'b'; BODY_BYTES];
    while !stopping.load(Ordering::SeqCst) {
        let result = connection.send(async_http::post("/", body.clone())).await.and_then(|response| {
            let is_complete = response.text.ends_with(&format!(" {BODY_BYTES}"));
            if is_complete { ok(&response) } else { Err(format!("incomplete body: {response:?}").into()) }
        });
        counts.record("post", &counts.posts, result);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn echo_loop(address: SocketAddr, stopping: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stopping.load(Ordering::SeqCst) {
        let mut stream = match EchoStream::open(address).await {
            Ok(stream) => stream,
            Err(error) => {
                counts.record("upgrade", &counts.echoes, Err(error));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while !stopping.load(Ordering::SeqCst) {
            let result = stream.say("are you there?").await;
            let failed = result.is_err();
            counts.record("echo", &counts.echoes, result);
            if failed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn slow_loop(address: SocketAddr, slow_ms: u64, stopping: Arc<AtomicBool>, counts: Arc<Counts>) {
    while !stopping.load(Ordering::SeqCst) {
        let path = format!("/slow?{slow_ms}");
        let result = async_http::send(address, async_http::get(&path)).await.and_then(|response| ok(&response));
        counts.record("slow answer", &counts.slow, result);
    }
}

async fn http2_loop(address: SocketAddr, stopping: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut sender = async_http::connect_http2(address).await;
    while !stopping.load(Ordering::SeqCst) {
        if sender.ready().await.is_err() {
            // The server sent GOAWAY before this request was sent.
            sender = async_http::connect_http2(address).await;
            continue;
        }
        let result = match sender.try_send_request(async_http::get_http2("/")).await {
            Ok(response) => async_http::read_response(response).await.and_then(|response| ok(&response)),
            // The connection ended after `ready`: hyper returns the request, of which no byte was written.
            Err(failed) if failed.message().is_some() => continue,
            // The server did not process requests after the last stream that GOAWAY names (RFC 9113, 6.8).
            Err(failed) if is_graceful_goaway(failed.error()) => continue,
            Err(failed) => Err(failed.into_error().into()),
        };
        counts.record("http/2", &counts.http2, result);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_graceful_goaway(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|cause| format!("{cause:?}").contains("GoAway(b\"\", NO_ERROR, Remote)"))
}
