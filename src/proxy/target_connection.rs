//! One HTTP/1.1 connection to a target, and whether it may be used again.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::keep_alive;
use super::limits::{CONNECT_TIMEOUT, HEAD_BYTES, HEADERS};
use super::request_body::RequestBody;

/// A connection that is open as far as this side knows.
#[derive(Debug)]
pub struct TargetConnection {
    sender: http1::SendRequest<RequestBody>,
    idle_since: Instant,
    /// It has served a request, so the target may be closing it at this moment.
    used: bool,
}

impl TargetConnection {
    /// Connects to `socket` where the address is numeric, else resolves `address`. Also returns a handle that aborts
    /// the connection's task.
    ///
    /// # Errors
    /// When the target does not accept in time.
    pub async fn open(address: &str, socket: Option<SocketAddr>) -> io::Result<(Self, AbortHandle)> {
        let stream = match socket {
            Some(socket) => timeout(CONNECT_TIMEOUT, TcpStream::connect(socket)).await??,
            None => timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??,
        };
        stream.set_nodelay(true)?;
        keep_alive::enable(&stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES.max(8_192))
            .max_headers(HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // An error reaches the task that waits for the response.
            drop(connection.with_upgrades().await);
        });
        Ok((Self { sender, idle_since: Instant::now(), used: false }, driver.abort_handle()))
    }

    pub fn was_used(&self) -> bool {
        self.used
    }

    /// Returns whether it has been idle for less than `age` and is not known to be closed.
    pub fn is_usable(&self, age: Duration) -> bool {
        self.idle_since.elapsed() < age && self.sender.is_ready()
    }

    /// Marks it as used, and as idle from now on.
    pub fn into_idle(self) -> Self {
        Self { idle_since: Instant::now(), used: true, ..self }
    }

    /// Sends a request and returns the response.
    ///
    /// # Errors
    /// When the connection breaks. The error contains the request if none of its bytes were sent.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.sender.try_send_request(request).await
    }
}
