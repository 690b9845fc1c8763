//! A target's body on its way to a visitor. Holds the request's place at the target until the last byte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::access_log::Line;
use super::request_body::{BodyFault, Patience};
use super::upstream::Claim;
use super::window::End;
use super::wire::Wire;

/// What goes to a visitor.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is what nearly all answers are; a box costs each of them")]
pub enum AnswerBody {
    /// The proxy's own words.
    Own(Option<Bytes>),
    Passing(Passing),
}

#[derive(Debug)]
pub struct Passing {
    inner: Incoming,
    patience: Patience,
    exchange: Exchange,
}

/// A request and its answer, until both are over.
#[derive(Debug)]
pub struct Exchange {
    pub claim: Option<Claim>,
    /// Goes back to the idle ones when the answer is whole.
    pub wire: Option<Wire>,
    pub status: u16,
    pub started: Instant,
    pub bytes: u64,
    pub line: Option<Line>,
}

impl Exchange {
    fn end(&mut self, end: End) {
        let Some(mut claim) = self.claim.take() else { return };
        let took = self.started.elapsed();
        claim.end(end, took);
        if let (End::Answered(_), Some(wire)) = (end, self.wire.take()) {
            claim.give_back(wire);
        }
        if let Some(line) = self.line.take() {
            line.write(self.status, took, self.bytes, end);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Before its end: the visitor went away.
        self.end(End::Client);
    }
}

impl AnswerBody {
    pub fn own(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::Own((!text.is_empty()).then_some(text))
    }

    pub fn passing(inner: Incoming, silence: Duration, mut exchange: Exchange) -> Self {
        if inner.is_end_stream() {
            exchange.end(End::Answered(exchange.status));
        }
        Self::Passing(Passing { inner, patience: Patience::new(silence), exchange })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let passing = match self.get_mut() {
            Self::Own(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Passing(passing) => passing,
        };
        let Poll::Ready(frame) = Pin::new(&mut passing.inner).poll_frame(cx) else {
            ready!(passing.patience.poll_spent(cx));
            passing.exchange.end(End::Timeout);
            return Poll::Ready(Some(Err(BodyFault::Silent)));
        };
        passing.patience.reset();
        match frame {
            Some(Ok(frame)) => {
                passing.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if passing.inner.is_end_stream() {
                    passing.exchange.end(End::Answered(passing.exchange.status));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(_)) => {
                let cut = passing.exchange.claim.as_ref().is_some_and(Claim::was_cut);
                passing.exchange.end(if cut { End::Cut } else { End::Broken });
                Poll::Ready(Some(Err(BodyFault::Broken)))
            }
            None => {
                passing.exchange.end(End::Answered(passing.exchange.status));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_none(),
            Self::Passing(passing) => passing.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Passing(passing) => passing.inner.size_hint(),
        }
    }
}
