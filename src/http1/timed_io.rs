//! A stream that fails if its peer stops reading, and that records its last activity.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a write may wait for the peer to accept any of it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Orders the reads and writes of several connections: each advances it by one.
#[derive(Debug, Clone, Default)]
pub(super) struct ActivityClock(Arc<AtomicU64>);

/// The last activity of a connection, and whether the server is answering a request of it.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: ActivityClock,
    last: AtomicU64,
    is_answering: AtomicBool,
}

impl ActivityClock {
    /// The activity of a new connection.
    pub(super) fn new_connection(&self) -> Activity {
        let last = self.next().into();
        Activity(Arc::new(Inner { all: self.clone(), last, is_answering: false.into() }))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Activity {
    /// Records a read or a write.
    pub(super) fn record(&self) {
        self.0.last.store(self.0.all.next(), Ordering::Relaxed);
    }

    /// Marks the connection as waiting for the server, until the guard is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.0.is_answering.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// The order in which connections are closed to make room, lowest first: the longest idle first, and those that
    /// wait for the server last.
    pub(super) fn rank(&self) -> (bool, u64) {
        let Inner { last, is_answering, .. } = &*self.0;
        (is_answering.load(Ordering::Relaxed), last.load(Ordering::Relaxed))
    }
}

/// Marks a connection as waiting for the server until it is dropped.
#[derive(Debug)]
pub(super) struct Answering(Activity);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.is_answering.store(false, Ordering::Relaxed);
    }
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] once the peer has accepted no written byte for
/// [`WRITE_TIMEOUT`].
#[derive(Debug)]
pub(super) struct TimedIo<I> {
    io: I,
    activity: Activity,
    /// The deadline of the pending write.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<I> TimedIo<I> {
    pub(super) const fn new(io: I, activity: Activity) -> Self {
        Self { io, activity, deadline: None }
    }

    /// The result of an attempt to write, or the timeout.
    fn with_timeout<T>(
        &mut self,
        attempt: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.deadline = None;
            return attempt;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for TimedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            self.activity.record();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for TimedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if written.is_ready() {
            self.activity.record();
        }
        self.with_timeout(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        if written.is_ready() {
            self.activity.record();
        }
        self.with_timeout(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.with_timeout(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.with_timeout(shut, context)
    }
}
