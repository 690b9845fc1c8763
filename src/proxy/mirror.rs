//! Copies of safe requests to a target on trial; never in the way of the request itself.

use std::sync::Arc;
use std::time::Instant;

use http::Request;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::limits::MIRROR_TIMEOUT;
use super::request_body::RequestBody;
use super::service::Service;
use super::upstream::Claim;
use super::window::End;
use super::wire::Wire;

/// Sends a copy when the plan asks for one and there is a place for it.
pub fn copy(service: &Arc<Service>, thread: usize, request: &Request<RequestBody>) {
    let Some((mut claim, place)) = service.mirror(thread) else { return };
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    tokio::spawn(async move {
        let begun = Instant::now();
        let end = timeout(MIRROR_TIMEOUT, send(&mut claim, copy)).await.unwrap_or(End::Timeout);
        claim.end(end, begun.elapsed());
        drop(place);
    });
}

async fn send(claim: &mut Claim, copy: Request<RequestBody>) -> End {
    let mut wire = match claim.idle_wire(true) {
        Some(wire) => wire,
        None => match Wire::open(claim.upstream()).await {
            Ok(wire) => wire,
            Err(_) => return End::Connect,
        },
    };
    let Ok(response) = wire.send(copy).await else { return End::Broken };
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return End::Broken;
        }
    }
    claim.give_back(wire);
    End::Answered(status)
}
