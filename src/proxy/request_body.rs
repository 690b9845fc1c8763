//! A client's request body on its way to a target, with a limit on its size and on its pauses.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body exceeds the size limit")]
    TooLarge,
    #[error("the body stalled for too long")]
    Silent,
    #[error("the client's connection broke")]
    Broken,
}

/// Limits the pauses of a body. Costs nothing while bytes arrive.
#[derive(Debug)]
pub struct IdleTimer {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleTimer {
    pub fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// Records that bytes have arrived.
    pub fn reset(&mut self) {
        self.waiting = false;
    }

    /// Is ready when no bytes have arrived for the whole limit.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}

/// A client's request body.
#[derive(Debug)]
pub enum RequestBody {
    Empty,
    Stream { inner: Incoming, left: u64, timer: IdleTimer },
}

impl RequestBody {
    /// Limits the body to `limit` bytes and its pauses to `silence`.
    ///
    /// # Errors
    /// When its declared length already exceeds the limit.
    pub fn new(inner: Incoming, limit: u64, silence: Duration) -> Result<Self, BodyError> {
        if inner.is_end_stream() {
            return Ok(Self::Empty);
        }
        if inner.size_hint().lower() > limit {
            return Err(BodyError::TooLarge);
        }
        Ok(Self::Stream { inner, left: limit, timer: IdleTimer::new(silence) })
    }

    /// Declares a body of unknown length. Without it, hyper sends a GET or HEAD without its body.
    pub fn declare_length(&self, headers: &mut HeaderMap) {
        if !self.is_empty() && self.size_hint().exact().is_none() && !headers.contains_key(CONTENT_LENGTH) {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self::Stream { inner, left, timer } = self.get_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            ready!(timer.poll_expired(cx));
            return Poll::Ready(Some(Err(BodyError::Silent)));
        };
        timer.reset();
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(BodyError::Broken))) };
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(size) else { return Poll::Ready(Some(Err(BodyError::TooLarge))) };
        *left = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { inner, .. } => inner.size_hint(),
        }
    }
}
