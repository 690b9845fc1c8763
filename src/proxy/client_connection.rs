//! A client's connection: TLS, the choice of protocol, timeouts for slow clients, and its end at shutdown.

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

use super::connection_context::ConnectionContext;
use super::forward::answer;
use super::headers::ClientInfo;
use super::idle::idle;
use super::limits::{H2_STREAMS, HANDSHAKE_TIMEOUT, HEAD_BYTES, HEADERS, LINGER};
use super::replayed_stream::ReplayedStream;
use super::shared::Shared;

/// How often an HTTP/2 client is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// An accepted connection.
pub struct Accepted {
    pub stream: StdStream,
    pub peer: SocketAddr,
    /// The public address that the client connected to.
    pub address: SocketAddr,
    pub tls: Option<TlsAcceptor>,
    /// Its slot among the connections that are allowed at a time.
    pub slot: OwnedSemaphorePermit,
}

/// Serves a connection until it ends. Call it on the serving thread.
pub async fn serve(accepted: Accepted, shared: Arc<Shared>, thread: usize) {
    let Ok(stream) = TcpStream::from_std(accepted.stream) else { return };
    let ip = accepted.peer.ip().to_canonical();
    let client = ClientInfo {
        ip,
        text: HeaderValue::from_str(&ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        tls: accepted.tls.is_some(),
        trusted: shared.trusted.contains(ip),
    };
    let slot = accepted.slot;
    let context = Arc::new(ConnectionContext { shared, thread, address: accepted.address, client, _slot: slot });
    match accepted.tls {
        None => {
            let first = timeout(context.shared.limits.head_timeout, ReplayedStream::read(stream)).await;
            let Ok(Ok((stream, http2))) = first else { return };
            serve_http(stream, context, http2).await;
        }
        Some(acceptor) => {
            let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_http(stream, context, http2).await;
        }
    }
}

async fn serve_http<S>(stream: S, context: Arc<ConnectionContext>, http2: bool)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let shared = Arc::clone(&context.shared);
    let io = TokioIo::new(stream);
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    let service = service_fn(move |request: http::Request<Incoming>| {
        counter.fetch_add(1, Ordering::Relaxed);
        answer(Arc::clone(&context), request)
    });
    if http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .keep_alive_interval(PING_INTERVAL)
            .serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = shared.closing.cancelled() => {}
            () = idle(&requests, shared.limits.head_timeout) => {}
        }
        // Open requests are answered; the client needs a new connection for further ones.
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
        .max_headers(HEADERS)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = shared.closing.cancelled() => {}
    }
    // From now on every response says `connection: close`. An idle connection stays open for a while, because a request
    // may already be on its way.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(LINGER.min(shared.limits.drain)) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = shared.cut.cancelled() => {}
    }
}
