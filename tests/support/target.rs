//! A target: a real HTTP server in this process that responds with its name.

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

/// An HTTP server for tests. Its responses:
/// - `GET /`: its name. `/slow?MS`: the same, after that time.
/// - `/head`: the request line and headers. `/status?N`: that status. `/long?N`: a body of that length.
/// - `POST`: its name and the length of the body.
/// - An upgraded connection: an echo.
pub struct TestTarget {
    pub address: SocketAddr,
    pub state: Arc<TargetState>,
    server: JoinHandle<()>,
}

#[derive(Default)]
pub struct TargetState {
    pub requests: AtomicU64,
    pub posts: AtomicU64,
    pub connections: AtomicU64,
    /// Makes the target respond to everything with status 500.
    pub unhealthy: AtomicBool,
}

impl TestTarget {
    pub async fn start(name: &'static str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(name: &'static str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(TargetState::default());
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            // Dropping the set ends its connections.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, name, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, server }
    }

    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Stops the server and closes all its connections.
    pub async fn kill(self) {
        self.server.abort();
        drop(self.server.await);
    }
}

async fn serve(stream: TcpStream, name: &'static str, state: Arc<TargetState>) {
    stream.set_nodelay(true).unwrap();
    let service = service_fn(move |request| respond(request, name, Arc::clone(&state)));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
}

async fn respond(
    mut request: Request<Incoming>,
    name: &'static str,
    state: Arc<TargetState>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_check = request.headers().get("user-agent").is_some_and(|agent| agent == "deployer-proxy-check");
    if !is_check {
        state.requests.fetch_add(1, Ordering::SeqCst);
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
        _ if state.unhealthy.load(Ordering::SeqCst) => text(StatusCode::INTERNAL_SERVER_ERROR, name.to_owned()),
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
            state.posts.fetch_add(1, Ordering::SeqCst);
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
