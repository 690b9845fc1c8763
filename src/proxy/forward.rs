//! Forwards one request: finds its service, waits while requests are held, tries targets as long as that is safe, and
//! passes the response on.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;

use super::access_log::PendingEntry;
use super::connection_context::ConnectionContext;
use super::error_response::ErrorResponse;
use super::file_descriptors;
use super::headers;
use super::hold::HoldEnd;
use super::limits::TRIES;
use super::mirror;
use super::request_body::{BodyError, RequestBody};
use super::request_head::{RequestHead, log_entry, rewrite_head};
use super::request_path::AmbiguousPath;
use super::response_body::{Exchange, ResponseBody};
use super::routed_service::{Admission, RoutedService};
use super::target_connection::TargetConnection;
use super::tunnel;
use super::upstream::{InFlightRequest, Upstream};
use super::window::RequestEnd;

/// One request that has a service.
struct Forwarder<'a> {
    context: &'a Arc<ConnectionContext>,
    service: &'a Arc<RoutedService>,
    started: Instant,
    id: HeaderValue,
    version: Version,
    /// The client's side of a requested protocol upgrade.
    upgrade: Option<OnUpgrade>,
    log: Option<PendingEntry>,
}

/// What has been tried so far.
#[derive(Default)]
struct Attempts {
    /// Connections used.
    count: usize,
    /// Targets that failed.
    failed: Vec<Arc<Upstream>>,
    /// Why the last of them failed.
    error: Option<ErrorResponse>,
}

impl Attempts {
    fn exhausted(&self) -> bool {
        self.count >= TRIES
    }

    fn error(&self) -> ErrorResponse {
        self.error.unwrap_or(ErrorResponse::Unreachable)
    }
}

/// A chosen target, which counts the request as in flight.
struct Selected {
    request: InFlightRequest,
    /// A `set-cookie` for the client.
    cookie: Option<String>,
    /// When this choice was made. Latency counts from here, because the time of a hold is not the target's fault.
    begun: Instant,
}

/// How a try with one target ended.
#[allow(clippy::large_enum_variant, reason = "one per request, on the stack; a box would allocate")]
enum Try {
    Done(Response<ResponseBody>),
    /// The request was not processed and may go to another target.
    Again(Request<RequestBody>),
}

/// Answers one request of any protocol version.
///
/// # Errors
/// Never; the type is what hyper expects.
pub async fn answer(
    context: Arc<ConnectionContext>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let started = Instant::now();
    let version = request.version();
    let (mut parts, body) = request.into_parts();
    let shared = &context.shared;
    let id = headers::given_request_id(&parts.headers).unwrap_or_else(|| shared.request_id());
    let mut log = shared.log.as_ref().map(|log| log.begin(log_entry(&context, &parts, &id)));
    let host = headers::host_of(&parts);
    let table = shared.table();
    let found = host
        .as_ref()
        .map_or(Ok(None), |host| table.find(context.address, host.to_str().unwrap_or_default(), parts.uri.path()));
    let error = match (&host, found) {
        (None, _) => ErrorResponse::BadRequest,
        _ if parts.method == Method::CONNECT => ErrorResponse::ConnectMethod,
        (Some(_), Err(AmbiguousPath)) => ErrorResponse::AmbiguousPath,
        (Some(_), Ok(None)) => {
            shared.unrouted.fetch_add(1, Ordering::Relaxed);
            ErrorResponse::NoRoute
        }
        (Some(host), Ok(Some(service))) => {
            if let Some(log) = &mut log {
                log.service(&service.name);
            }
            let upgrade = rewrite_head(&mut parts, &context, host, &id);
            match RequestBody::new(body, shared.limits.body_bytes, shared.limits.idle_timeout) {
                Err(_) => ErrorResponse::TooLarge,
                Ok(body) => {
                    body.declare_length(&mut parts.headers);
                    let request = Request::from_parts(parts, body);
                    let forwarder = Forwarder { context: &context, service, started, id, version, upgrade, log };
                    return Ok(forwarder.forward(request).await);
                }
            }
        }
    };
    Ok(error_response(&context, error, started, &id, version, log))
}

fn error_response(
    context: &ConnectionContext,
    error: ErrorResponse,
    started: Instant,
    id: &HeaderValue,
    version: Version,
    log: Option<PendingEntry>,
) -> Response<ResponseBody> {
    let mut response = error.response();
    if let Some(log) = log {
        let status = error.status().as_u16();
        log.write(status, started.elapsed(), 0, RequestEnd::Answered(status));
    }
    response.headers_mut().insert(headers::REQUEST_ID, id.clone());
    close_during_shutdown(context, version, response.headers_mut());
    response
}

/// During shutdown, tells the client to open a new connection for its next request: the next process accepts it.
fn close_during_shutdown(context: &ConnectionContext, version: Version, headers: &mut HeaderMap) {
    if version != Version::HTTP_2 && context.shared.closing.is_cancelled() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl Forwarder<'_> {
    /// Tries one target after the other until there is a response.
    async fn forward(mut self, mut request: Request<RequestBody>) -> Response<ResponseBody> {
        let bodiless = request.body().is_empty() && self.upgrade.is_none();
        let repeatable = bodiless && headers::repeatable(request.method());
        if bodiless && headers::safe(request.method()) {
            mirror::copy(self.service, self.context.thread, &request);
        }
        let mut attempts = Attempts::default();
        loop {
            let selected = match self.select_target(request.headers(), &mut attempts).await {
                Ok(selected) => selected,
                Err(error) => return self.fail(error),
            };
            match self.try_target(request, selected, repeatable, &mut attempts).await {
                Try::Done(response) => return response,
                Try::Again(again) => request = again,
            }
            if attempts.exhausted() {
                return self.fail(attempts.error());
            }
        }
    }

    /// Chooses a target that has not failed yet. Waits first while requests are held.
    async fn select_target(&self, headers: &HeaderMap, attempts: &mut Attempts) -> Result<Selected, ErrorResponse> {
        let mut turn = None;
        loop {
            match self.service.admit(self.context.thread, headers, &attempts.failed) {
                Admission::Forward { mut request, cookie } => {
                    request.turn = turn;
                    return Ok(Selected { request, cookie, begun: Instant::now() });
                }
                Admission::NoTarget if attempts.failed.is_empty() => return Err(ErrorResponse::NoTarget),
                Admission::NoTarget => return Err(attempts.error()),
                Admission::Wait(hold) => match hold.wait().await {
                    HoldEnd::Released(own) => {
                        turn = own;
                        attempts.failed.clear();
                    }
                    HoldEnd::TurnedAway => {
                        self.service.turned_away.fetch_add(1, Ordering::Relaxed);
                        return Err(ErrorResponse::Held);
                    }
                },
            }
        }
    }

    /// Sends the request to one target. A used connection that breaks is replaced by a new one to the same target.
    async fn try_target(
        &mut self,
        mut request: Request<RequestBody>,
        mut selected: Selected,
        repeatable: bool,
        attempts: &mut Attempts,
    ) -> Try {
        loop {
            attempts.count += 1;
            let mut connection = match self.connect(&selected.request, repeatable, attempts).await {
                Ok(connection) => connection,
                Err(error) if file_descriptors::is_shortage(&error) => {
                    selected.end(RequestEnd::Proxy);
                    return Try::Done(self.fail(ErrorResponse::Overloaded));
                }
                Err(_) => {
                    selected.request.upstream().record_check(false);
                    self.give_up(&mut selected, attempts, RequestEnd::Connect);
                    return Try::Again(request);
                }
            };
            if selected.end_if_cut() {
                return Try::Again(request);
            }
            let copy = (repeatable && !attempts.exhausted()).then(|| RequestHead::of(&request));
            let sent = timeout(self.context.shared.limits.answer_timeout, connection.send(request)).await;
            let mut error = match sent {
                Ok(Ok(response)) => return Try::Done(self.pass_response(response, selected, connection)),
                Ok(Err(error)) => error,
                Err(_) => {
                    selected.end(RequestEnd::Timeout);
                    return Try::Done(self.fail(ErrorResponse::TargetTimeout));
                }
            };
            // The target has answered, so it has the request already.
            if error.error().is_parse() {
                selected.end(RequestEnd::Broken);
                return Try::Done(self.fail(ErrorResponse::InvalidAnswer));
            }
            // hyper returns the request when it sent none of its bytes.
            let unsent = error.take_message();
            let Some(again) = unsent.or_else(|| copy.map(RequestHead::into_request)) else {
                return Try::Done(self.fail_sent(selected, &error.into_error()));
            };
            request = again;
            self.service.retries.fetch_add(1, Ordering::Relaxed);
            if selected.end_if_cut() {
                return Try::Again(request);
            }
            if attempts.exhausted() || !connection.was_used() {
                self.give_up(&mut selected, attempts, RequestEnd::Broken);
                return Try::Again(request);
            }
        }
    }

    /// Takes an idle connection for the first attempt, and opens a new one otherwise.
    async fn connect(
        &self,
        request: &InFlightRequest,
        repeatable: bool,
        attempts: &Attempts,
    ) -> std::io::Result<TargetConnection> {
        let idle = if attempts.count == 1 { request.idle_connection(repeatable) } else { None };
        match idle {
            Some(connection) => Ok(connection),
            None => request.upstream().connect().await,
        }
    }

    /// Ends the try, and excludes the target from the next choice.
    fn give_up(&self, selected: &mut Selected, attempts: &mut Attempts, end: RequestEnd) {
        selected.end(end);
        attempts.error = Some(match end {
            RequestEnd::Connect => ErrorResponse::Unreachable,
            _ => ErrorResponse::TargetClosed,
        });
        attempts.failed.push(Arc::clone(selected.request.upstream()));
        self.service.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers after a failure when the target may have received the request, which therefore is not sent again.
    fn fail_sent(&mut self, mut selected: Selected, error: &hyper::Error) -> Response<ResponseBody> {
        let (end, response) = match body_error(error) {
            Some(BodyError::TooLarge) => (RequestEnd::Client, ErrorResponse::TooLarge),
            Some(BodyError::Silent) => (RequestEnd::Client, ErrorResponse::ClientTimeout),
            Some(BodyError::Broken) => (RequestEnd::Client, ErrorResponse::BadRequest),
            None if selected.request.was_cut() => (RequestEnd::Cut, ErrorResponse::TargetClosed),
            None => (RequestEnd::Broken, ErrorResponse::TargetClosed),
        };
        selected.end(end);
        self.fail(response)
    }

    fn fail(&mut self, error: ErrorResponse) -> Response<ResponseBody> {
        error_response(self.context, error, self.started, &self.id, self.version, self.log.take())
    }

    /// Turns the target's response into the one for the client.
    fn pass_response(
        &mut self,
        response: Response<Incoming>,
        mut selected: Selected,
        connection: TargetConnection,
    ) -> Response<ResponseBody> {
        let (mut parts, body) = response.into_parts();
        if let Some(log) = &mut self.log {
            log.target(&selected.request.upstream().name);
        }
        let websocket = headers::is_websocket(&parts.headers);
        let target_side = parts.extensions.remove::<OnUpgrade>();
        parts.extensions.clear();
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(headers::REQUEST_ID, self.id.clone());
        if let Some(cookie) = selected.cookie.take().and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
            parts.headers.append(SET_COOKIE, cookie);
        }
        parts.version = Version::HTTP_11;
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.pass_upgrade(parts, selected, target_side.filter(|_| websocket));
        }
        close_during_shutdown(self.context, self.version, &mut parts.headers);
        let exchange = Exchange {
            request: Some(selected.request),
            connection: Some(connection),
            status: parts.status.as_u16(),
            started: selected.begun,
            bytes: 0,
            log: self.log.take(),
        };
        let silence = self.context.shared.limits.answer_timeout;
        Response::from_parts(parts, ResponseBody::streamed(body, silence, exchange))
    }

    /// Connects both sides of an upgraded stream.
    fn pass_upgrade(
        &mut self,
        mut parts: response::Parts,
        mut selected: Selected,
        target_side: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let (Some(client_side), Some(target_side)) = (self.upgrade.take(), target_side) else {
            selected.end(RequestEnd::Broken);
            return self.fail(ErrorResponse::TargetClosed);
        };
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, headers::WEBSOCKET);
        let stream = selected.request.into_stream(selected.begun.elapsed());
        tunnel::open(Arc::clone(self.context), client_side, target_side, stream);
        if let Some(log) = self.log.take() {
            log.write(101, self.started.elapsed(), 0, RequestEnd::Answered(101));
        }
        Response::from_parts(parts, ResponseBody::from_text(""))
    }
}

impl Selected {
    fn end(&mut self, end: RequestEnd) {
        self.request.end(end, self.begun.elapsed());
    }

    /// Ends the try when a drain has cut the target's requests meanwhile.
    fn end_if_cut(&mut self) -> bool {
        let cut = self.request.was_cut();
        if cut {
            self.end(RequestEnd::Cut);
        }
        cut
    }
}

/// Finds the error of the client's body in the causes of a failed request.
fn body_error(error: &hyper::Error) -> Option<BodyError> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return Some(*error);
        }
        source = error.source();
    }
    None
}
