//! Visitors: one request on a new connection, a connection that is kept, one that is upgraded, raw bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub struct Visited {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub fn get(path: &str) -> Request<Full<Bytes>> {
    request(Method::GET, path, &[], Bytes::new())
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    request(Method::POST, path, &[], body.into())
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "example.com");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

/// On a new connection that is closed afterwards.
pub async fn visit(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Visited, Failure> {
    Kept::open(address).await?.visit(request).await
}

/// A connection that serves one request after another.
pub struct Kept {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl Kept {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self { address, sender: connect(address).await? })
    }

    /// As a browser does: on a new connection when the server said that this one ends.
    pub async fn visit(&mut self, request: Request<Full<Bytes>>) -> Result<Visited, Failure> {
        if self.sender.ready().await.is_err() {
            self.sender = connect(self.address).await?;
        }
        whole(timeout(PATIENCE, self.sender.send_request(request)).await??).await
    }
}

async fn connect(address: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub async fn whole(response: Response<hyper::body::Incoming>) -> Result<Visited, Failure> {
    let (parts, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await??.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(Visited { status: parts.status, headers: parts.headers, text })
}

/// HTTP/2 without TLS.
pub async fn second(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn second_get(path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://example.com{path}");
    Request::builder().uri(uri).version(Version::HTTP_2).body(Full::new(Bytes::new())).unwrap()
}

/// An upgraded stream that echoes.
pub struct Echo(TcpStream);

impl Echo {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let mut stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        // The key of the RFC's example, whose answer the target knows.
        let head = "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            got.push(timeout(PATIENCE, stream.read_u8()).await??);
        }
        if !got.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&got).into_owned().into());
        }
        Ok(Self(stream))
    }

    pub async fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).await?;
        let mut back = vec![0; text.len()];
        timeout(PATIENCE, self.0.read_exact(&mut back)).await??;
        if back == text.as_bytes() { Ok(()) } else { Err("another echo".into()) }
    }

    /// Waits for the other side's end.
    pub async fn ended(&mut self) -> bool {
        let mut byte = [0];
        timeout(PATIENCE, self.0.read(&mut byte)).await.is_ok_and(|read| read.map_or(true, |count| count == 0))
    }
}

/// Sends bytes as they are, and reads until the other side closes or `patience` is over.
pub async fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever refuses early may close before all is written.
    drop(stream.write_all(bytes).await);
    let mut got = Vec::new();
    drop(timeout(patience, stream.read_to_end(&mut got)).await);
    String::from_utf8_lossy(&got).into_owned()
}
