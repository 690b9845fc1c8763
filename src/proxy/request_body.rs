//! A visitor's body on its way to a target: bounded in size and in silence.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

/// Why a body ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("the body is larger than is allowed")]
    TooLarge,
    #[error("no byte of the body came for too long")]
    Silent,
    #[error("the visitor's connection broke")]
    Broken,
}

/// The patience with whoever sends a body; costs nothing while bytes come.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// Bytes came.
    pub fn reset(&mut self) {
        self.waiting = false;
    }

    /// No bytes for now: ready when it was too long.
    pub fn poll_spent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}

#[derive(Debug)]
pub enum RequestBody {
    Empty,
    Stream { inner: Incoming, left: u64, patience: Patience },
}

impl RequestBody {
    /// # Errors
    /// When its declared length is too large already.
    pub fn new(inner: Incoming, limit: u64, silence: Duration) -> Result<Self, BodyFault> {
        if inner.is_end_stream() {
            return Ok(Self::Empty);
        }
        if inner.size_hint().lower() > limit {
            return Err(BodyFault::TooLarge);
        }
        Ok(Self::Stream { inner, left: limit, patience: Patience::new(silence) })
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Self::Stream { inner, left, patience } = self.get_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            ready!(patience.poll_spent(cx));
            return Poll::Ready(Some(Err(BodyFault::Silent)));
        };
        patience.reset();
        let Some(frame) = frame else { return Poll::Ready(None) };
        let Ok(frame) = frame else { return Poll::Ready(Some(Err(BodyFault::Broken))) };
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(size) else { return Poll::Ready(Some(Err(BodyFault::TooLarge))) };
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
