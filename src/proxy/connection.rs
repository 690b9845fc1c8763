//! A visitor's connection: TLS, the protocol that is spoken, slow visitors, and its end when the process ends.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::forward::{Context, answer};
use super::headers::Visitor;
use super::limits::{H2_STREAMS, HANDSHAKE_TIMEOUT, HEAD_BYTES, LINGER};
use super::shared::Shared;

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at the first bytes, when too few have come to tell.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Asks an HTTP/2 visitor whether it is there.
const PING: Duration = Duration::from_secs(30);

/// A connection that was accepted.
pub struct Accepted {
    pub stream: StdStream,
    pub peer: SocketAddr,
    /// The public address that was asked.
    pub address: SocketAddr,
    pub tls: Option<TlsAcceptor>,
    pub place: OwnedSemaphorePermit,
}

/// Serves it to its end. To be called on the thread that is to serve it.
pub async fn serve(accepted: Accepted, shared: Arc<Shared>, thread: usize) {
    let Ok(stream) = TcpStream::from_std(accepted.stream) else { return };
    let ip = accepted.peer.ip().to_canonical();
    let visitor = Visitor {
        ip,
        text: HeaderValue::from_str(&ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        tls: accepted.tls.is_some(),
    };
    let context = Arc::new(Context { shared, thread, address: accepted.address, visitor, place: accepted.place });
    match accepted.tls {
        None => {
            if let Some(second) = speaks_http2(&stream, context.shared.limits.head_timeout).await {
                speak(stream, context, second).await;
            }
        }
        Some(acceptor) => {
            let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else { return };
            let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(stream, context, second).await;
        }
    }
}

/// Looks at the first bytes without taking them. `None`: none came in time.
async fn speaks_http2(stream: &TcpStream, patience: Duration) -> Option<bool> {
    let look = async {
        let mut bytes = [0; PREFACE.len()];
        loop {
            let count = stream.peek(&mut bytes).await.ok().filter(|count| *count > 0)?;
            if count == PREFACE.len() || !PREFACE.starts_with(&bytes[..count]) {
                return Some(&bytes[..count] == PREFACE);
            }
            sleep(LOOK_AGAIN).await;
        }
    };
    timeout(patience, look).await.ok().flatten()
}

/// Until nothing was asked for that long.
async fn silent(asked: &AtomicU64, patience: Duration) {
    let mut before = None;
    loop {
        let now = asked.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        sleep(patience).await;
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, context: Arc<Context>, second: bool) {
    let shared = Arc::clone(&context.shared);
    let io = TokioIo::new(stream);
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let service = service_fn(move |request: http::Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        answer(Arc::clone(&context), request)
    });
    if second {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(PING)
            .serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = shared.closing.cancelled() => {}
            () = silent(&asked, shared.limits.head_timeout) => {}
        }
        // What was asked is answered; for more there is a new connection.
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = shared.cut.cancelled() => {}
        }
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = shared.closing.cancelled() => {}
    }
    // Each answer says `connection: close` from now on. One that is idle stays a while: closing it at this moment could
    // meet a request on its way.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(LINGER.min(shared.limits.drain)) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = shared.cut.cancelled() => {}
    }
}
