//! Sends copies of safe requests to a second target. Never delays the request itself.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::limits::MIRROR_TIMEOUT;
use super::request_body::RequestBody;
use super::routed_service::RoutedService;
use super::upstream::InFlightRequest;
use super::window::RequestEnd;

/// Sends a copy when the balancer asks for one and the limit of concurrent copies allows it.
pub fn copy(service: &Arc<RoutedService>, thread: usize, request: &Request<RequestBody>) {
    let Some((mut in_flight, permit)) = service.begin_mirror(thread) else { return };
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    tokio::spawn(async move {
        let begun = Instant::now();
        let end = timeout(MIRROR_TIMEOUT, send(&mut in_flight, copy)).await.unwrap_or(RequestEnd::Timeout);
        in_flight.end(end, begun.elapsed());
        drop(permit);
    });
}

async fn send(in_flight: &mut InFlightRequest, copy: Request<RequestBody>) -> RequestEnd {
    let mut connection = match in_flight.idle_connection(true) {
        Some(connection) => connection,
        None => match in_flight.upstream().connect().await {
            Ok(connection) => connection,
            Err(_) => return RequestEnd::Connect,
        },
    };
    let Ok(response) = connection.send(copy).await else { return RequestEnd::Broken };
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return RequestEnd::Broken;
        }
    }
    in_flight.keep_idle(connection);
    RequestEnd::Answered(status)
}
