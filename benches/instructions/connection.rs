//! Whole calls over a connection in memory: what HTTP/2 costs, with what it carries.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate::clock::Nanos;

use super::support::{Parts, shipped_message};

/// How many calls are open at a time, as with `h2load -m 50`.
const STREAMS: usize = 50;

/// Makes calls under `config/management-api.yaml`, which are all admitted, or denied but for the first.
pub(super) fn calls(count: usize, method: &str, path: &str, is_denied: bool) {
    let parts = Parts::shipped();
    let message = shipped_message("enterprise_production", "acme", method, path);
    let clock = Arc::clone(&parts.clock);
    // With a pause the buckets of the call are full again before the next batch.
    let pause = (!is_denied).then_some(Nanos::new(60_000_001_000));
    let client = Client {
        message,
        left: count,
        next: 1,
        opening: beginning(),
        has_read: false,
        answered: 0,
        before_a_batch: Box::new(move || pause.into_iter().for_each(|pause| clock.advance(pause))),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tollgate::grpc::serve(client, Arc::clone(&parts.service))).unwrap();
}

/// A client that makes calls in batches and takes what it is sent.
struct Client {
    message: Vec<u8>,
    left: usize,
    next: u32,
    opening: Vec<u8>,
    /// Whether a batch was read and its answers have not been written.
    has_read: bool,
    answered: usize,
    before_a_batch: Box<dyn FnMut() + Send>,
}

/// The preface, SETTINGS, and a window for all answers.
fn beginning() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(8, 0, 0, &0x3fff_0000_u32.to_be_bytes()));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Client {
    /// A call as Envoy makes it: the first puts its fields into the header table, the others have them as indexes.
    fn call(&mut self) -> Vec<u8> {
        let stream = self.next;
        self.next += 2;
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
        let block = match stream {
            1 => [
                &[0x83, 0x86, 0x44][..],
                &text(path),
                &[0x41],
                &text("tollgate"),
                &[0x40],
                &text("te"),
                &text("trailers"),
                &[0x5f],
                &text("application/grpc"),
            ]
            .concat(),
            _ => vec![0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe],
        };
        let length = u32::try_from(self.message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, &self.message].concat();
        [frame(1, 4, stream, &block), frame(0, 1, stream, &body)].concat()
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_read) {
            // All that was sent is read: the answers are to be written.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.opening.is_empty() {
            buffer.put_slice(&std::mem::take(&mut self.opening));
            return Poll::Ready(Ok(()));
        }
        (self.before_a_batch)();
        for _ in 0..STREAMS.min(self.left) {
            let call = self.call();
            if buffer.remaining() < call.len() {
                self.next -= 2;
                break;
            }
            buffer.put_slice(&call);
            self.left -= 1;
        }
        self.has_read = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answered += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Client {
    /// Each answer has at least this many bytes; a connection that ended early has answered less.
    fn drop(&mut self) {
        assert!(self.answered > 60 * (usize::try_from(self.next).unwrap() / 2));
    }
}
