//! Asks each target again and again whether it is well, before the switch and after it.

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

use super::notice::notice;
use super::upstream::Upstream;

/// What checks call themselves.
const AGENT: HeaderValue = HeaderValue::from_static("deployer-proxy-check");

/// Watches it until nobody has it any more.
pub fn watch(service: &str, upstream: &Arc<Upstream>) {
    let service = service.to_owned();
    let weak = Arc::downgrade(upstream);
    tokio::spawn(async move {
        loop {
            let Some(interval) = look(&service, &weak).await else { return };
            sleep(interval).await;
        }
    });
}

async fn look(service: &str, weak: &Weak<Upstream>) -> Option<Duration> {
    let upstream = weak.upgrade()?;
    upstream.tidy();
    let check = upstream.check.read().unwrap_or_else(PoisonError::into_inner).clone();
    let asked = ask(&upstream, check.path.as_deref());
    let good = timeout(check.timeout.0, asked).await.is_ok_and(|good| good);
    if upstream.checked(good) {
        let word = if good { "is well again" } else { "does not answer as it should" };
        notice(format!("target `{}` of `{service}` at {} {word}", upstream.name, upstream.address));
    }
    Some(check.interval.0)
}

async fn ask(upstream: &Upstream, path: Option<&str>) -> bool {
    let Ok(stream) = TcpStream::connect(upstream.address.as_str()).await else { return false };
    let Some(path) = path else { return true };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else { return false };
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    let (Ok(uri), Ok(host)) = (path.parse(), HeaderValue::from_str(&upstream.address)) else { return false };
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, AGENT);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send_request(request).await;
    driver.abort();
    answer.is_ok_and(|answer| answer.status().as_u16() < 400)
}
