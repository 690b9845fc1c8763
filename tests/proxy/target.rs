//! A target: a real HTTP server in this process that says who it is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers `GET /` with its name; `/slow?MS` after that time; `/head` with the head it got; `/status?N` with that
/// status; a `POST` with its name and the body's length; an upgrade with an echo.
pub struct TestTarget {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    server: JoinHandle<()>,
}

#[derive(Default)]
pub struct Seen {
    pub requests: AtomicU64,
    pub posts: AtomicU64,
    pub connections: AtomicU64,
    pub sick: AtomicBool,
}

impl TestTarget {
    pub async fn start(name: &'static str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let own = Arc::clone(&seen);
        let server = tokio::spawn(async move {
            // Its connections end with it.
            let mut all = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                own.connections.fetch_add(1, Ordering::SeqCst);
                all.spawn(serve(stream, name, Arc::clone(&own)));
                while all.try_join_next().is_some() {}
            }
        });
        Self { address, seen, server }
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Dies with all its connections.
    pub async fn die(self) {
        self.server.abort();
        drop(self.server.await);
    }
}

async fn serve(stream: TcpStream, name: &'static str, seen: Arc<Seen>) {
    stream.set_nodelay(true).unwrap();
    let service = service_fn(move |request| answer(request, name, Arc::clone(&seen)));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
}

async fn answer(
    mut request: Request<Incoming>,
    name: &'static str,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let check = request.headers().get("user-agent").is_some_and(|agent| agent == "deployer-proxy-check");
    if !check {
        seen.requests.fetch_add(1, Ordering::SeqCst);
    }
    if request.headers().contains_key(UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let mut stream = TokioIo::new(upgraded);
            let mut bytes = [0; 1024];
            while let Ok(count) = stream.read(&mut bytes).await {
                if count == 0 || stream.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        });
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, String::new());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        response.headers_mut().insert("sec-websocket-accept", accept);
        return Ok(response);
    }
    let number: u64 = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or_default();
    let response = match request.uri().path() {
        _ if seen.sick.load(Ordering::SeqCst) => text(StatusCode::INTERNAL_SERVER_ERROR, name.to_owned()),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            text(StatusCode::OK, name.to_owned())
        }
        "/head" => text(StatusCode::OK, head(&request)),
        "/status" => text(StatusCode::from_u16(number as u16).unwrap(), name.to_owned()),
        "/long" => text(StatusCode::OK, "x".repeat(number as usize)),
        _ if request.method() == http::Method::POST => {
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => return Ok(text(StatusCode::BAD_REQUEST, "broken".to_owned())),
            };
            seen.posts.fetch_add(1, Ordering::SeqCst);
            text(StatusCode::OK, format!("{name} {}", body.len()))
        }
        _ => text(StatusCode::OK, name.to_owned()),
    };
    Ok(response)
}

fn head(request: &Request<Incoming>) -> String {
    let line = format!("{} {}\n", request.method(), request.uri());
    line + lines(request.headers()).as_str()
}

fn lines(headers: &HeaderMap) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("?"))).collect()
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
