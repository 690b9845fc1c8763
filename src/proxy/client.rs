//! Talks to a running proxy through its control socket.

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

use super::command::{Answer, Command, Refusal, RefusalKind, Reply};
use super::control::COMMAND_PATH;

/// Until another process has taken over.
const HANDOVER: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Of an answer.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A proxy, by its socket.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks again while another process takes over.
    ///
    /// # Errors
    /// When the proxy cannot be reached or says nothing in time. What it refuses is no error of this kind.
    pub async fn ask(&self, command: &Command, patience: Duration) -> io::Result<Result<Reply, Refusal>> {
        let until = Instant::now() + HANDOVER;
        loop {
            let body = serde_json::to_vec(command)?;
            let text = timeout(patience, self.exchange(Method::POST, COMMAND_PATH, body)).await??;
            match serde_json::from_slice(&text)? {
                Answer::Refused(refusal) if refusal.kind == RefusalKind::HandedOver && Instant::now() < until => {
                    sleep(ASK_AGAIN).await;
                }
                Answer::Refused(refusal) => return Ok(Err(refusal)),
                Answer::Ok(reply) => return Ok(Ok(reply)),
            }
        }
    }

    /// # Errors
    /// When the proxy cannot be reached or says nothing in time.
    pub async fn metrics(&self, patience: Duration) -> io::Result<String> {
        let text = timeout(patience, self.exchange(Method::GET, "/metrics", Vec::new())).await??;
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
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(io::Error::other)?;
        driver.abort();
        Ok(body.to_bytes())
    }
}
