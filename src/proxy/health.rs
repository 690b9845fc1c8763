//! Checks the health of each target at intervals, before and after a switch.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::file_descriptors::is_shortage;
use super::notice::notice;
use super::upstream::Upstream;

/// The user agent of the checks.
const AGENT: HeaderValue = HeaderValue::from_static("deployer-proxy-check");

/// Checks a target until it is no longer in use. Returns at once.
pub fn watch(service: &str, upstream: &Arc<Upstream>) {
    let service = service.to_owned();
    let weak = Arc::downgrade(upstream);
    tokio::spawn(async move {
        loop {
            let Some(interval) = check(&service, &weak).await else { return };
            sleep(interval).await;
        }
    });
}

/// Checks once and returns the time until the next check. `None`: the target is no longer in use.
async fn check(service: &str, weak: &Weak<Upstream>) -> Option<Duration> {
    let upstream = weak.upgrade()?;
    upstream.close_idle();
    let check = upstream.check.read().unwrap_or_else(PoisonError::into_inner).clone();
    let passed = match timeout(check.timeout.0, passes(&upstream, check.path.as_deref())).await {
        Ok(Some(passed)) => passed,
        // This process cannot connect to anything, which says nothing about the target.
        Ok(None) => return Some(check.interval.0),
        Err(_) => false,
    };
    if upstream.record_check(passed) {
        let change = if passed { "is healthy again" } else { "is unhealthy" };
        notice(format!("target `{}` of `{service}` at {} {change}", upstream.name, upstream.address));
    }
    Some(check.interval.0)
}

/// Connects, and where there is a path, asks for it. `None`: this process has no file descriptor or port left.
async fn passes(upstream: &Upstream, path: Option<&str>) -> Option<bool> {
    match (TcpStream::connect(upstream.address.as_str()).await, path) {
        (Err(error), _) if is_shortage(&error) => None,
        (Err(_), _) => Some(false),
        (Ok(_), None) => Some(true),
        (Ok(stream), Some(path)) => Some(answers(stream, upstream, path).await),
    }
}

/// Requires a response with a status below 400.
async fn answers(stream: TcpStream, upstream: &Upstream, path: &str) -> bool {
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else { return false };
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    let (Ok(uri), Ok(host)) = (path.parse(), HeaderValue::from_str(&upstream.address)) else { return false };
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, AGENT);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let response = sender.send_request(request).await;
    driver.abort();
    response.is_ok_and(|response| response.status().as_u16() < 400)
}
