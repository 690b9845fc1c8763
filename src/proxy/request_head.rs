//! The head of a request: its copy for a second attempt, its form for the target, and its entry in the access log.

use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, request};
use hyper::upgrade::OnUpgrade;

use super::access_log::LogEntry;
use super::connection_context::ConnectionContext;
use super::headers;
use super::request_body::RequestBody;

/// A copy of the head, so that a request without a body can be sent again.
pub struct RequestHead {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl RequestHead {
    pub fn of(request: &Request<RequestBody>) -> Self {
        Self { method: request.method().clone(), uri: request.uri().clone(), headers: request.headers().clone() }
    }

    /// Returns the request again, without a body.
    pub fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Returns what the access log records of a request's head.
pub fn log_entry(context: &ConnectionContext, parts: &request::Parts, id: &HeaderValue) -> LogEntry {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let host = parts.uri.authority().map(ToString::to_string).unwrap_or_else(|| text(parts.headers.get(HOST)));
    LogEntry {
        id: text(Some(id)),
        peer: context.client.ip.to_string(),
        protocol: match parts.version {
            Version::HTTP_2 => "h2",
            Version::HTTP_10 => "http/1.0",
            _ => "http/1.1",
        },
        method: parts.method.to_string(),
        host,
        path: parts.uri.path().to_owned(),
        ..LogEntry::default()
    }
}

/// Turns the client's head into the one for the target. Returns the client's side of a requested upgrade.
pub fn rewrite_head(
    parts: &mut request::Parts,
    context: &ConnectionContext,
    host: &HeaderValue,
    id: &HeaderValue,
) -> Option<OnUpgrade> {
    let websocket = headers::asks_for_websocket(parts);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    parts.extensions.clear();
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_proxy_credentials(&mut parts.headers);
    headers::set_forwarded(&mut parts.headers, &context.client, host);
    parts.headers.insert(headers::REQUEST_ID, id.clone());
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut parts.headers);
    }
    parts.headers.insert(HOST, host.clone());
    parts.uri = headers::origin_form(std::mem::take(&mut parts.uri));
    parts.version = Version::HTTP_11;
    if !websocket {
        return None;
    }
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, headers::WEBSOCKET);
    upgrade
}
