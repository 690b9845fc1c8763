//! A stream whose first bytes were read to tell the protocol: they are read again, then those that follow.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The first bytes of every HTTP/2 connection.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream, and the part of its first bytes that was not read again.
#[derive(Debug)]
pub struct ReplayedStream<S> {
    inner: S,
    first: [u8; PREFACE.len()],
    next: usize,
    end: usize,
}

impl<S: AsyncRead + Unpin> ReplayedStream<S> {
    /// Reads until the protocol is known. Returns the stream and whether it speaks HTTP/2.
    ///
    /// # Errors
    /// When the stream breaks, or ends without a byte.
    pub async fn read(mut inner: S) -> io::Result<(Self, bool)> {
        let mut first = [0; PREFACE.len()];
        let mut end = 0;
        while end < first.len() && PREFACE.starts_with(&first[..end]) {
            match inner.read(&mut first[end..]).await? {
                0 if end == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                0 => break,
                count => end += count,
            }
        }
        let http2 = first == PREFACE;
        Ok((Self { inner, first, next: 0, end }, http2))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplayedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.next == self.end {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let count = buffer.remaining().min(self.end - self.next);
        buffer.put_slice(&self.first[self.next..self.next + count]);
        self.next += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReplayedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[derive(Default)]
    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn a_part_of_the_preface_wakes_nothing_until_more_arrives() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"PRI").await.unwrap();
        let wakes = Arc::new(CountedWakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut read = Box::pin(ReplayedStream::read(server));
        assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0, "it waits for the socket and for no timer");
        client.write_all(b"VATE / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        let (mut stream, http2) = read.await.unwrap();
        assert!(!http2);
        drop(client);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "PRIVATE / HTTP/1.1\r\n", "each byte is read once");
    }

    #[tokio::test]
    async fn the_preface_may_arrive_byte_by_byte() {
        let (mut client, server) = tokio::io::duplex(1);
        let write = async move { client.write_all(&PREFACE).await.unwrap() };
        let (read, ()) = tokio::join!(ReplayedStream::read(server), write);
        assert!(read.unwrap().1);
    }
}
