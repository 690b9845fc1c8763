//! The body of a response. One that comes from a target keeps the request in flight until the last byte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::access_log::PendingEntry;
use super::request_body::{BodyError, IdleTimer};
use super::target_connection::TargetConnection;
use super::upstream::InFlightRequest;
use super::window::RequestEnd;

/// The body that a client receives.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all bodies are the large variant; a box would cost each of them")]
pub enum ResponseBody {
    /// A text of the proxy itself.
    Text(Option<Bytes>),
    /// The body of a target.
    Streamed(StreamedBody),
}

/// A target's body on its way to the client.
#[derive(Debug)]
pub struct StreamedBody {
    inner: Incoming,
    timer: IdleTimer,
    exchange: Exchange,
}

/// One request and its response, until both have ended.
#[derive(Debug)]
pub struct Exchange {
    pub request: Option<InFlightRequest>,
    /// Becomes idle again when the response is complete.
    pub connection: Option<TargetConnection>,
    pub status: u16,
    pub started: Instant,
    pub bytes: u64,
    pub log: Option<PendingEntry>,
}

impl Exchange {
    fn end(&mut self, end: RequestEnd) {
        let Some(mut request) = self.request.take() else { return };
        let took = self.started.elapsed();
        request.end(end, took);
        if let (RequestEnd::Answered(_), Some(connection)) = (end, self.connection.take()) {
            request.keep_idle(connection);
        }
        if let Some(log) = self.log.take() {
            log.write(self.status, took, self.bytes, end);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Dropped before its end: the client has disconnected.
        self.end(RequestEnd::Client);
    }
}

impl ResponseBody {
    pub fn from_text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Text((!text.is_empty()).then_some(text))
    }

    /// Passes on a target's body, which may pause for at most `silence`.
    pub fn streamed(inner: Incoming, silence: Duration, mut exchange: Exchange) -> Self {
        if inner.is_end_stream() {
            exchange.end(RequestEnd::Answered(exchange.status));
        }
        Self::Streamed(StreamedBody { inner, timer: IdleTimer::new(silence), exchange })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = match self.get_mut() {
            Self::Text(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Streamed(body) => body,
        };
        let Poll::Ready(frame) = Pin::new(&mut body.inner).poll_frame(cx) else {
            ready!(body.timer.poll_expired(cx));
            body.exchange.end(RequestEnd::Timeout);
            return Poll::Ready(Some(Err(BodyError::Silent)));
        };
        body.timer.reset();
        match frame {
            Some(Ok(frame)) => {
                body.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if body.inner.is_end_stream() {
                    body.exchange.end(RequestEnd::Answered(body.exchange.status));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                let cut = body.exchange.request.as_ref().is_some_and(InFlightRequest::was_cut);
                body.exchange.end(if cut { RequestEnd::Cut } else { RequestEnd::Broken });
                Poll::Ready(Some(Err(BodyError::Broken)))
            }
            None => {
                body.exchange.end(RequestEnd::Answered(body.exchange.status));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Streamed(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Streamed(body) => body.inner.size_hint(),
        }
    }
}
