//! Upgraded streams such as WebSocket: copies bytes both ways until one side ends, nothing has arrived for long, or
//! a drain cuts the stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::timeout;

use super::connection_context::ConnectionContext;
use super::idle::idle;
use super::limits::HANDSHAKE_TIMEOUT;
use super::upstream::OpenStream;

/// Copies bytes between both sides as soon as they are upgraded. Returns at once.
pub fn open(context: Arc<ConnectionContext>, client: OnUpgrade, target: OnUpgrade, stream: OpenStream) {
    let count = StreamCount::new(context);
    let limit = count.0.shared.limits.stream_idle_timeout;
    tokio::spawn(async move {
        let cut = stream.cut.clone();
        let shutdown = count.0.shared.cut_streams.clone();
        tokio::select! {
            () = copy(client, target, limit) => {}
            () = cut.cancelled() => {}
            () = shutdown.cancelled() => {}
        }
        drop((stream, count));
    });
}

async fn copy(client: OnUpgrade, target: OnUpgrade, limit: Duration) {
    let upgraded = async { tokio::try_join!(client, target) };
    let Ok(Ok((client, target))) = timeout(HANDSHAKE_TIMEOUT, upgraded).await else { return };
    let reads = AtomicU64::new(0);
    let mut client = CountedReads { inner: TokioIo::new(client), reads: &reads };
    let mut target = CountedReads { inner: TokioIo::new(target), reads: &reads };
    // The stream ends with either side; an error is one way to end.
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut target) => {}
        () = idle(&reads, limit) => {}
    }
}

/// Counts the reads of a stream, to notice that it is idle.
struct CountedReads<'a, S> {
    inner: S,
    reads: &'a AtomicU64,
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedReads<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedReads<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Counts the stream for the shutdown of the process, and keeps the connection's slot.
struct StreamCount(Arc<ConnectionContext>);

impl StreamCount {
    fn new(context: Arc<ConnectionContext>) -> Self {
        context.shared.streams.fetch_add(1, Ordering::AcqRel);
        Self(context)
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.shared.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
