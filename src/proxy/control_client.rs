//! Sends commands to a running proxy through its control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::command::{Command, CommandReply, CommandResponse, Refusal, RefusalKind};
use super::control_socket::COMMAND_PATH;

/// How long to retry while another process takes over.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// The largest response that is read.
const RESPONSE_BYTES: usize = 64 * 1024 * 1024;

/// A client of one proxy.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Creates a client of the proxy with this control socket.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path of the control socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a command. Tries again while another process takes over. A refusal is the inner error.
    ///
    /// # Errors
    /// When the proxy cannot be reached or does not answer in time.
    pub async fn ask(&self, command: &Command, limit: Duration) -> io::Result<Result<CommandReply, Refusal>> {
        let until = Instant::now() + HANDOVER_TIMEOUT;
        loop {
            let body = serde_json::to_vec(command)?;
            let text = timeout(limit, self.exchange(Method::POST, COMMAND_PATH, body)).await??;
            match serde_json::from_slice(&text)? {
                CommandResponse::Refused(refusal)
                    if refusal.kind == RefusalKind::HandedOver && Instant::now() < until =>
                {
                    sleep(RETRY_INTERVAL).await;
                }
                CommandResponse::Refused(refusal) => return Ok(Err(refusal)),
                CommandResponse::Ok(reply) => return Ok(Ok(reply)),
            }
        }
    }

    /// Returns the metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// When the proxy cannot be reached or does not answer in time.
    pub async fn metrics(&self, limit: Duration) -> io::Result<String> {
        let text = timeout(limit, self.exchange(Method::GET, "/metrics", Vec::new())).await??;
        String::from_utf8(text.to_vec()).map_err(io::Error::other)
    }

    async fn exchange(&self, method: Method, path: &'static str, body: Vec<u8>) -> io::Result<Bytes> {
        let stream = UnixStream::connect(&self.path).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(connection);
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(path);
        request.headers_mut().insert(HOST, HeaderValue::from_static("proxy"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = Limited::new(response.into_body(), RESPONSE_BYTES).collect().await.map_err(io::Error::other)?;
        driver.abort();
        Ok(body.to_bytes())
    }
}
