//! What changes in a head on its way: headers of one hop go, those that tell of the visitor come. Pure.

use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Uri, Version, request};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// A visitor's request id may be that long.
const REQUEST_ID_MAX: usize = 128;

/// Who asks, of one connection.
#[derive(Debug)]
pub struct Visitor {
    pub ip: IpAddr,
    pub text: HeaderValue,
    pub tls: bool,
}

/// The protocol that a head asks to change to.
pub fn upgrade_of(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !headers.contains_key(UPGRADE) {
        return None;
    }
    let asked = tokens(headers).any(|token| token.eq_ignore_ascii_case("upgrade"));
    asked.then(|| headers.get(UPGRADE).cloned()).flatten()
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Takes away what concerns one hop alone.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            // Whoever names these wants to blind the target.
            .filter(|name| !matches!(*name, HOST | COOKIE) && *name != http::header::CONTENT_LENGTH)
            .collect();
        headers.remove(CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    for name in [TRANSFER_ENCODING, TE, UPGRADE, TRAILER, KEEP_ALIVE, PROXY_CONNECTION] {
        headers.remove(name);
    }
}

/// Takes away what a visitor may not tell the target through a proxy.
pub fn strip_proxy_credentials(headers: &mut HeaderMap) {
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(EXPECT);
}

/// The host that is asked for; `None` when it is missing, given twice, or contradicts itself.
pub fn host_of(parts: &request::Parts) -> Option<HeaderValue> {
    let mut given = parts.headers.get_all(HOST).iter();
    let first = given.next();
    if given.next().is_some() {
        return None;
    }
    match (parts.uri.authority(), first) {
        // HTTP/2, or a request in absolute form: what it says counts.
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

/// Tells the target of the visitor. `trusted`: what came along is of a proxy in front and is kept.
pub fn tell_of(headers: &mut HeaderMap, visitor: &Visitor, host: &HeaderValue, trusted: bool) {
    let proto = HeaderValue::from_static(if visitor.tls { "https" } else { "http" });
    if !trusted {
        headers.remove(FORWARDED);
    }
    let before = headers.get(FORWARDED_FOR).and_then(|value| value.to_str().ok()).filter(|_| trusted);
    let chain = before.and_then(|before| HeaderValue::from_str(&format!("{before}, {}", visitor.ip)).ok());
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| visitor.text.clone()));
    if !(trusted && headers.contains_key(REAL_IP)) {
        headers.insert(REAL_IP, visitor.text.clone());
    }
    if !(trusted && headers.contains_key(FORWARDED_PROTO)) {
        headers.insert(FORWARDED_PROTO, proto);
    }
    if !(trusted && headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

/// The id that came along, when it looks like one.
pub fn given_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(REQUEST_ID)?;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'=');
    let bytes = given.as_bytes();
    (!bytes.is_empty() && bytes.len() <= REQUEST_ID_MAX && bytes.iter().all(fits)).then(|| given.clone())
}

/// HTTP/2 splits cookies; HTTP/1.1 knows one header.
pub fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The path alone, as a server is asked for it.
pub fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() && uri.scheme().is_none() {
        return uri;
    }
    let path = uri.path_and_query().cloned();
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// Methods that may be sent twice.
pub fn repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Methods whose copies do no harm.
pub fn safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
