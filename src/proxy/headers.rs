//! Rewrites the heads of requests: removes hop-by-hop headers and adds those that describe the client. Pure.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Uri, Version, request};

/// The header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The only protocol that a connection may be upgraded to.
pub const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The longest request id that is accepted from a client.
const REQUEST_ID_MAX: usize = 128;

/// The client of one connection.
#[derive(Debug)]
pub struct ClientInfo {
    pub ip: IpAddr,
    /// The address as text.
    pub text: HeaderValue,
    pub tls: bool,
    /// It is a proxy in front, whose forwarded headers are kept.
    pub trusted: bool,
}

/// Returns whether the client asks for a WebSocket. Any other protocol would carry requests past the routes: h2c, for
/// example, reaches every path of the target.
pub fn asks_for_websocket(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && is_websocket(&parts.headers)
        && tokens(&parts.headers).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Returns whether these headers name WebSocket as the only protocol to upgrade to.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let first = protocols.next();
    first.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
        && protocols.next().is_none()
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Removes the headers that are meant for one hop only.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            // A client must not be able to hide these from the target.
            .filter(|name| {
                !matches!(*name, HOST | COOKIE | CONTENT_LENGTH) && *name != REQUEST_ID && !describes_client(name)
            })
            .collect();
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    for name in [TRANSFER_ENCODING, TE, UPGRADE, TRAILER, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

/// Removes the headers that a client must not send to the target through a proxy.
pub fn strip_proxy_credentials(headers: &mut HeaderMap) {
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(EXPECT);
}

/// Returns the requested host. `None`: it is missing, given twice or invalid.
pub fn host_of(parts: &request::Parts) -> Option<HeaderValue> {
    let mut given = parts.headers.get_all(HOST).iter();
    let first = given.next();
    if given.next().is_some() {
        return None;
    }
    match (parts.uri.authority(), first) {
        // HTTP/2, or a request in absolute form: the URI takes precedence.
        (Some(authority), _) => {
            let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
            HeaderValue::from_str(host).ok()
        }
        (None, Some(host)) if host.to_str().is_ok_and(plain_host) => Some(host.clone()),
        (None, Some(_)) => None,
        (None, None) if parts.version == Version::HTTP_10 => Some(HeaderValue::from_static("")),
        (None, None) => None,
    }
}

fn plain_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'?' | b'#' | b'\\' | b','))
}

/// Adds the headers that describe the client. Keeps those that a trusted proxy in front has set, and no others.
pub fn set_forwarded(headers: &mut HeaderMap, client: &ClientInfo, host: &HeaderValue) {
    let spoofed: Vec<HeaderName> = headers.keys().filter(|name| !may_stay(name, client.trusted)).cloned().collect();
    for name in spoofed {
        headers.remove(name);
    }
    let mut chain: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    chain.push(client.text.as_bytes());
    let chain = HeaderValue::from_bytes(&chain.join(&b", "[..]));
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|_| client.text.clone()));
    let proto = HeaderValue::from_static(if client.tls { "https" } else { "http" });
    for (name, own) in [(REAL_IP, &client.text), (FORWARDED_PROTO, &proto), (FORWARDED_HOST, host)] {
        // With several lines, the nearest proxy has added the last one.
        let given = headers.get_all(&name).iter().next_back().cloned();
        headers.insert(name, given.unwrap_or_else(|| own.clone()));
    }
}

/// Returns whether a header of the client may reach the target.
fn may_stay(name: &HeaderName, trusted: bool) -> bool {
    // Programs read `Proxy` as `HTTP_PROXY`, and `X_Forwarded_For` as `X-Forwarded-For`. No proxy sets either.
    let variant = name.as_str().contains('_');
    *name != PROXY && (!describes_client(name) || (trusted && !variant))
}

/// Returns whether a header tells a target who the client is, in any spelling that a target may read.
fn describes_client(name: &HeaderName) -> bool {
    let dashed;
    let text = match name.as_str() {
        text if text.contains('_') => {
            dashed = text.replace('_', "-");
            dashed.as_str()
        }
        text => text,
    };
    text.starts_with("x-forwarded") || text == FORWARDED.as_str() || text == REAL_IP.as_str()
}

/// Returns the request id that the client sent, if it is a valid one.
pub fn given_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(REQUEST_ID)?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'=');
    let bytes = given.as_bytes();
    (!bytes.is_empty() && bytes.len() <= REQUEST_ID_MAX && bytes.iter().all(fits)).then(|| given.clone())
}

/// Joins the cookie headers: HTTP/2 may split them, HTTP/1.1 has one.
pub fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Returns the path and query without scheme and authority.
pub fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() && uri.scheme().is_none() {
        return uri;
    }
    let path = uri.path_and_query().cloned();
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// Returns whether a request with this method may be sent twice.
pub fn repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns whether a copy of a request with this method has no effect on the target.
pub fn safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
