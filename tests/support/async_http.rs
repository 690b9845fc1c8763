//! An async HTTP client: requests on new and kept-alive connections, upgraded connections, HTTP/2, and raw bytes.

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

pub const TIMEOUT: Duration = Duration::from_secs(20);

/// The response to a request.
#[derive(Debug)]
pub struct HttpResponse {
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

/// Sends a request on a new connection, and closes it afterwards.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<HttpResponse, Failure> {
    KeptConnection::open(address).await?.send(request).await
}

/// A keep-alive connection.
pub struct KeptConnection {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

impl KeptConnection {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        Ok(Self { address, sender: connect(address).await? })
    }

    /// Sends a request. Opens a new connection if the server has closed this one, as browsers do.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<HttpResponse, Failure> {
        if self.sender.ready().await.is_err() {
            self.sender = connect(self.address).await?;
        }
        read_response(timeout(TIMEOUT, self.sender.send_request(request)).await??).await
    }
}

async fn connect(address: SocketAddr) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
    let stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads the whole body of a response.
pub async fn read_response(response: Response<hyper::body::Incoming>) -> Result<HttpResponse, Failure> {
    let (parts, body) = response.into_parts();
    let body = timeout(TIMEOUT, body.collect()).await??.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Ok(HttpResponse { status: parts.status, headers: parts.headers, text })
}

/// Connects over HTTP/2 without TLS.
pub async fn connect_http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn get_http2(path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://example.com{path}");
    Request::builder().uri(uri).version(Version::HTTP_2).body(Full::new(Bytes::new())).unwrap()
}

/// An upgraded connection to a server that echoes.
pub struct EchoStream(TcpStream);

impl EchoStream {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let mut stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        // The key of the example in RFC 6455. The test target responds with its accept value.
        let head = "GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n") {
            received.push(timeout(TIMEOUT, stream.read_u8()).await??);
        }
        if !received.starts_with(b"HTTP/1.1 101") {
            return Err(String::from_utf8_lossy(&received).into_owned().into());
        }
        Ok(Self(stream))
    }

    /// Sends text and waits for its echo.
    pub async fn say(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).await?;
        let mut echo = vec![0; text.len()];
        timeout(TIMEOUT, self.0.read_exact(&mut echo)).await??;
        if echo == text.as_bytes() { Ok(()) } else { Err("the echo differs".into()) }
    }

    /// Waits until the server closes the connection. Returns false if it does not.
    pub async fn ended(&mut self) -> bool {
        let mut byte = [0];
        timeout(TIMEOUT, self.0.read(&mut byte)).await.is_ok_and(|read| read.map_or(true, |count| count == 0))
    }
}

/// Sends raw bytes, and returns what the server sends until it closes the connection or `limit` has passed.
pub async fn send_raw(address: SocketAddr, bytes: &[u8], limit: Duration) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses the request may close the connection before all bytes are written.
    drop(stream.write_all(bytes).await);
    let mut received = Vec::new();
    drop(timeout(limit, stream.read_to_end(&mut received)).await);
    String::from_utf8_lossy(&received).into_owned()
}
