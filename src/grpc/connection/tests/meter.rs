//! A connection that is served, and what the server did with it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;

use tokio::io::ReadBuf;

use super::*;

/// What the server did with one connection.
#[derive(Debug, Default)]
pub(super) struct Meter {
    polls: AtomicUsize,
    read: AtomicUsize,
    written: AtomicUsize,
}

impl Meter {
    /// How often it looked for something to read.
    pub(super) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    /// How many bytes it read.
    pub(super) fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// How many bytes it wrote.
    pub(super) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }
}

/// The server's end.
struct Metered {
    io: DuplexStream,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.meter.polls.fetch_add(1, Ordering::Relaxed);
        self.meter.read.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.written.fetch_add(bytes, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// The caller's end.
pub(super) struct Served {
    caller: DuplexStream,
    pub(super) meter: Arc<Meter>,
}

impl Served {
    /// Says this first. So many bytes fit in, on either way, until they are read.
    pub(super) async fn open(services: &Services, room: usize, beginning: &[u8]) -> Self {
        let (caller, io) = duplex(room);
        let meter = Arc::<Meter>::default();
        let io = Metered { io, meter: Arc::clone(&meter) };
        tokio::spawn(serve_http2(io, services.clone(), std::future::pending()));
        let mut served = Self { caller, meter };
        served.send(beginning).await;
        // It may take several turns.
        let mut polls = 0;
        while served.meter.read() < beginning.len() || served.meter.polls() > polls {
            polls = served.meter.polls();
            rest().await;
        }
        served
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.caller.write_all(bytes).await.unwrap();
    }

    /// Sends as much as there is room for now. Returns how much that is.
    pub(super) async fn send_what_fits(&mut self, bytes: &[u8]) -> usize {
        let mut caller = Pin::new(&mut self.caller);
        let write =
            |context: &mut Context<'_>| Poll::Ready(caller.as_mut().poll_write(context, bytes));
        match std::future::poll_fn(write).await {
            Poll::Ready(sent) => sent.unwrap(),
            Poll::Pending => 0,
        }
    }

    /// Waits until a call is answered: until its stream ends.
    pub(super) async fn answer(&mut self, stream: u32) {
        while self.frame().await != (1, 5, stream) {}
    }

    /// The next frame's kind, flags and stream.
    async fn frame(&mut self) -> (u8, u8, u32) {
        let mut head = [0; 9];
        self.caller.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.caller.read_exact(&mut payload).await.unwrap();
        (kind, flags, u32::from_be_bytes(stream))
    }
}
