//! The plainest HTTP client: one request, one connection, as a stranger's visit would be.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Requests may be made to wait on purpose.
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// More than any page of the tests' apps.
const BODY_MAX: u64 = 1 << 20;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// The header `X-Version`.
    pub version: String,
    pub body: String,
}

/// `GET path` on the loopback.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    send(port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
}

/// `POST path` with a body of JSON.
pub fn post(port: u16, path: &str, json: &str) -> io::Result<Answer> {
    let length = json.len();
    send(port, &format!("POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{json}"))
}

fn send(port: u16, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT_PATIENCE)?;
    stream.set_read_timeout(Some(READ_PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(BODY_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let header = |name: &str| {
        head.lines().skip(1).filter_map(|line| line.split_once(": ")).find(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    if header("Content-Length").is_some_and(|(_, length)| length.parse() != Ok(body.len())) {
        return Err(broken());
    }
    let version = header("X-Version").map(|(_, version)| version.to_owned()).unwrap_or_default();
    Ok(Answer { status, version, body: body.to_owned() })
}
