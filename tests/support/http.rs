//! A minimal blocking HTTP client. Each request opens its own connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Long, because a request may be held on purpose.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Larger than any page of the test apps.
const BODY_MAX: u64 = 1 << 20;

/// The response to a request.
#[derive(Clone, Debug)]
pub struct HttpReply {
    pub status: u16,
    /// The header `X-Version`.
    pub version: String,
    pub body: String,
}

/// Sends `GET path` on loopback.
pub fn get(port: u16, path: &str) -> io::Result<HttpReply> {
    send(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

/// Sends `POST path` with a JSON body on loopback.
pub fn post(port: u16, path: &str, json: &str) -> io::Result<HttpReply> {
    let length = json.len();
    send(port, &format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{json}"))
}

fn send(port: u16, request: &str) -> io::Result<HttpReply> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(BODY_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let incomplete = || io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete response");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(incomplete)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(incomplete)?;
    let header = |name: &str| {
        head.lines().skip(1).filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if header("Content-Length").is_some_and(|(_, length)| length.parse() != Ok(body.len())) {
        return Err(incomplete());
    }
    let version = header("X-Version").map(|(_, version)| version.to_owned()).unwrap_or_default();
    Ok(HttpReply { status, version, body: body.to_owned() })
}
