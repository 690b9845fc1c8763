//! One connection to a target, HTTP/1.1. Knows when it may be used again.

use std::io;
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::limits::{CONNECT_TIMEOUT, HEAD_BYTES};
use super::request_body::RequestBody;
use super::upstream::Upstream;

/// A connection that is open, as far as one knows.
#[derive(Debug)]
pub struct Wire {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
    /// It served a request before: it may be closing at this moment.
    used: bool,
}

impl Wire {
    /// # Errors
    /// When nobody answers in time.
    pub async fn open(upstream: &Upstream) -> io::Result<Self> {
        let stream = match upstream.socket {
            Some(address) => timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??,
            None => timeout(CONNECT_TIMEOUT, TcpStream::connect(upstream.address.as_str())).await??,
        };
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES.max(8_192))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // Whoever waits for the answer sees how it ended.
            drop(connection.with_upgrades().await);
        });
        upstream.drive(driver.abort_handle());
        Ok(Self { sender, since: Instant::now(), used: false })
    }

    pub fn used(&self) -> bool {
        self.used
    }

    /// Idle for less than `age`, and not known to be closed.
    pub fn usable(&self, age: Duration) -> bool {
        self.since.elapsed() < age && self.sender.is_ready()
    }

    pub fn rested(self) -> Self {
        Self { since: Instant::now(), used: true, ..self }
    }

    /// # Errors
    /// With the request, when not a byte of it was sent.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.sender.try_send_request(request).await
    }
}
