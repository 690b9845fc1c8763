//! One request: finds its service, waits if it is held, tries targets as long as it is safe, passes the answer on.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{CONNECTION, HOST, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::access_log::{Entry, Line};
use super::answer_body::{AnswerBody, Exchange};
use super::headers::{self, Visitor};
use super::hold::Wait;
use super::limits::TRIES;
use super::mirror;
use super::request_body::{BodyFault, RequestBody};
use super::service::{Admission, Service};
use super::shared::Shared;
use super::tunnel;
use super::upstream::{Claim, Upstream};
use super::window::End;
use super::wire::Wire;
use super::words::Own;

/// One visitor's connection.
#[derive(Debug)]
pub struct Context {
    pub shared: Arc<Shared>,
    pub thread: usize,
    /// The public address that was asked.
    pub address: SocketAddr,
    pub visitor: Visitor,
    /// Kept by an upgraded stream for as long as it lives.
    pub place: OwnedSemaphorePermit,
}

/// One request on its way.
struct Passage<'a> {
    context: &'a Arc<Context>,
    service: &'a Arc<Service>,
    started: Instant,
    id: HeaderValue,
    version: Version,
    /// The visitor's side of an upgrade.
    upgrade: Option<OnUpgrade>,
    line: Option<Line>,
}

/// The head, so that a request can be sent once more.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn of(request: &Request<RequestBody>) -> Self {
        Self { method: request.method().clone(), uri: request.uri().clone(), headers: request.headers().clone() }
    }

    fn request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// The one entry, for all protocols.
pub async fn answer(context: Arc<Context>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    let started = Instant::now();
    let version = request.version();
    let (mut parts, body) = request.into_parts();
    let shared = &context.shared;
    let id = headers::given_request_id(&parts.headers).unwrap_or_else(|| shared.request_id());
    let mut line = shared.log.as_ref().map(|log| log.line(entry(&context, &parts, &id)));
    let host = headers::host_of(&parts);
    let table = shared.table();
    let found =
        host.as_ref().and_then(|host| table.find(context.address, host.to_str().unwrap_or_default(), parts.uri.path()));
    let own = match (&host, found) {
        (None, _) => Own::BadRequest,
        _ if parts.method == Method::CONNECT => Own::Connect,
        (Some(_), None) => {
            shared.unrouted.fetch_add(1, Ordering::Relaxed);
            Own::NoRoute
        }
        (Some(host), Some(service)) => {
            if let Some(line) = &mut line {
                line.service(&service.name);
            }
            let upgrade = onward(&mut parts, &context, host, &id);
            match RequestBody::new(body, shared.limits.body_bytes, shared.limits.idle_timeout) {
                Err(_) => Own::TooLarge,
                Ok(body) => {
                    let request = Request::from_parts(parts, body);
                    let passage = Passage { context: &context, service, started, id, version, upgrade, line };
                    return Ok(passage.pass(request).await);
                }
            }
        }
    };
    Ok(own_answer(&context, own, started, &id, version, line))
}

fn entry(context: &Context, parts: &request::Parts, id: &HeaderValue) -> Entry {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let host = parts.uri.authority().map(ToString::to_string).unwrap_or_else(|| text(parts.headers.get(HOST)));
    Entry {
        id: text(Some(id)),
        peer: context.visitor.ip.to_string(),
        protocol: match parts.version {
            Version::HTTP_2 => "h2",
            Version::HTTP_10 => "http/1.0",
            _ => "http/1.1",
        },
        method: parts.method.to_string(),
        host,
        path: parts.uri.path().to_owned(),
        ..Entry::default()
    }
}

/// Makes the head that the target gets; gives the visitor's side of an upgrade that was asked for.
fn onward(parts: &mut request::Parts, context: &Context, host: &HeaderValue, id: &HeaderValue) -> Option<OnUpgrade> {
    let protocol = headers::upgrade_of(parts.version, &parts.headers);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    parts.extensions.clear();
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::strip_proxy_credentials(&mut parts.headers);
    headers::tell_of(&mut parts.headers, &context.visitor, host, context.shared.trusted);
    parts.headers.insert(headers::REQUEST_ID, id.clone());
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut parts.headers);
    }
    parts.headers.insert(HOST, host.clone());
    parts.uri = headers::origin_form(std::mem::take(&mut parts.uri));
    parts.version = Version::HTTP_11;
    let protocol = protocol?;
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, protocol);
    upgrade
}

fn own_answer(
    context: &Context,
    own: Own,
    started: Instant,
    id: &HeaderValue,
    version: Version,
    line: Option<Line>,
) -> Response<AnswerBody> {
    let mut response = own.response();
    if let Some(line) = line {
        line.write(own.status().as_u16(), started.elapsed(), 0, End::Answered(own.status().as_u16()));
    }
    response.headers_mut().insert(headers::REQUEST_ID, id.clone());
    close_when_ending(context, version, response.headers_mut());
    response
}

/// The process ends: the visitor's next request is for the next one.
fn close_when_ending(context: &Context, version: Version, headers: &mut HeaderMap) {
    if version != Version::HTTP_2 && context.shared.closing.is_cancelled() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl Passage<'_> {
    async fn pass(self, mut request: Request<RequestBody>) -> Response<AnswerBody> {
        let repeatable = headers::repeatable(request.method()) && request.body().is_empty() && self.upgrade.is_none();
        if request.body().is_empty() && self.upgrade.is_none() && headers::safe(request.method()) {
            mirror::copy(self.service, self.context.thread, &request);
        }
        let mut tried: Vec<Arc<Upstream>> = Vec::new();
        let mut tries = 0;
        loop {
            let (mut claim, cookie) = match self.service.admit(self.context.thread, request.headers(), &tried) {
                Admission::Go { claim, cookie } => (claim, cookie),
                Admission::Nobody if tried.is_empty() => return self.own(Own::NoTarget),
                Admission::Nobody => return self.own(Own::Connecting),
                Admission::Wait(hold) => match hold.wait().await {
                    Wait::GoOn => {
                        tried.clear();
                        continue;
                    }
                    Wait::TurnedAway => {
                        self.service.turned_away.fetch_add(1, Ordering::Relaxed);
                        return self.own(Own::Held);
                    }
                },
            };
            // The visitor's own patience begins with the try: what a hold took is no fault of the target.
            let begun = Instant::now();
            loop {
                tries += 1;
                let idle = if tries == 1 { claim.idle_wire(repeatable) } else { None };
                let mut wire = match idle {
                    Some(wire) => wire,
                    None => match Wire::open(claim.upstream()).await {
                        Ok(wire) => wire,
                        Err(_) => {
                            claim.upstream().checked(false);
                            self.next_target(&mut claim, &mut tried, End::Connect, begun);
                            break;
                        }
                    },
                };
                if claim.was_cut() {
                    claim.end(End::Cut, begun.elapsed());
                    break;
                }
                let backup = (repeatable && tries < TRIES).then(|| Head::of(&request));
                let sent = timeout(self.context.shared.limits.answer_timeout, wire.send(request)).await;
                let mut error = match sent {
                    Ok(Ok(response)) => return self.passed(response, claim, wire, cookie, begun),
                    Ok(Err(error)) => error,
                    Err(_) => {
                        claim.end(End::Timeout, begun.elapsed());
                        return self.own(Own::Timeout);
                    }
                };
                let unsent = error.take_message();
                let Some(again) = unsent.or_else(|| backup.map(Head::request)) else {
                    return self.failed(claim, &error.into_error(), begun);
                };
                request = again;
                self.service.retries.fetch_add(1, Ordering::Relaxed);
                if claim.was_cut() {
                    claim.end(End::Cut, begun.elapsed());
                    break;
                }
                if tries >= TRIES || !wire.used() {
                    self.next_target(&mut claim, &mut tried, End::Broken, begun);
                    break;
                }
            }
            if tries >= TRIES {
                return self.own(Own::Connecting);
            }
        }
    }

    fn next_target(&self, claim: &mut Claim, tried: &mut Vec<Arc<Upstream>>, end: End, begun: Instant) {
        claim.end(end, begun.elapsed());
        tried.push(Arc::clone(claim.upstream()));
        self.service.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// It may have been received: it is not sent again.
    fn failed(self, mut claim: Claim, error: &hyper::Error, begun: Instant) -> Response<AnswerBody> {
        let (end, own) = match body_fault(error) {
            Some(BodyFault::TooLarge) => (End::Client, Own::TooLarge),
            Some(BodyFault::Silent) => (End::Client, Own::SlowVisitor),
            Some(BodyFault::Broken) => (End::Client, Own::BadRequest),
            None if claim.was_cut() => (End::Cut, Own::Broken),
            None => (End::Broken, Own::Broken),
        };
        claim.end(end, begun.elapsed());
        self.own(own)
    }

    fn own(self, own: Own) -> Response<AnswerBody> {
        own_answer(self.context, own, self.started, &self.id, self.version, self.line)
    }

    fn passed(
        mut self,
        response: Response<Incoming>,
        mut claim: Claim,
        wire: Wire,
        cookie: Option<String>,
        begun: Instant,
    ) -> Response<AnswerBody> {
        let (mut parts, body) = response.into_parts();
        if let Some(line) = &mut self.line {
            line.target(&claim.upstream().name);
        }
        let changed = parts.headers.remove(UPGRADE);
        let target_side = parts.extensions.remove::<OnUpgrade>();
        parts.extensions.clear();
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(headers::REQUEST_ID, self.id.clone());
        if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
            parts.headers.append(SET_COOKIE, cookie);
        }
        parts.version = Version::HTTP_11;
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(visitor_side), Some(target_side), Some(protocol)) = (self.upgrade.take(), target_side, changed)
            else {
                claim.end(End::Broken, begun.elapsed());
                return self.own(Own::Broken);
            };
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
            tunnel::open(Arc::clone(self.context), visitor_side, target_side, claim.into_stream(begun.elapsed()));
            if let Some(line) = self.line.take() {
                line.write(101, self.started.elapsed(), 0, End::Answered(101));
            }
            return Response::from_parts(parts, AnswerBody::own(""));
        }
        close_when_ending(self.context, self.version, &mut parts.headers);
        let status = parts.status.as_u16();
        let exchange =
            Exchange { claim: Some(claim), wire: Some(wire), status, started: begun, bytes: 0, line: self.line };
        let silence = self.context.shared.limits.answer_timeout;
        Response::from_parts(parts, AnswerBody::passing(body, silence, exchange))
    }
}

fn body_fault(error: &hyper::Error) -> Option<BodyFault> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<BodyFault>() {
            return Some(*fault);
        }
        source = error.source();
    }
    None
}
