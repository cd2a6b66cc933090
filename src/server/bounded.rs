//! What one connection may take of the worker that it shares with others: how long until it says what it
//! is, and how much is read from it at a time.
//!
//! HTTP/2 itself asks for neither. A connection that never sends its preface is none that a keepalive could
//! ask anything. And of one that is sent faster than it is read, all that a task's budget allows is read at
//! once. The budget counts reads, 128 of them, and a read brings dozens of calls, or hundreds that are begun
//! and reset: a call on another connection would wait for thousands. So here a read costs the budget what it
//! brings.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;
use tokio::time::Sleep;

/// The bytes that every HTTP/2 connection begins with.
const PREFACE: usize = 24;

/// How long they may take. Envoy sends them with its first call, behind the handshake of TCP.
const PREFACE_PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes cost as much of a task's budget as a read does that brings none. A turn is 128 times that:
/// sixty of Envoy's calls, or six hundred of the smallest frames that can begin and reset a call, fewer than
/// may be reset before they are begun. Half of it would cost 3 % of a call where fifty are open at a time.
const BYTES_LIKE_A_READ: usize = 128;

/// A connection that is read in turns, and that does not wait for its preface for ever.
#[derive(Debug)]
pub(super) struct Bounded<I> {
    io: I,
    /// None once the preface has come.
    preface: Option<Preface>,
}

#[derive(Debug)]
struct Preface {
    missing: usize,
    patience: Pin<Box<Sleep>>,
}

impl<I> Bounded<I> {
    /// Its patience begins now.
    pub(super) fn new(io: I) -> Self {
        let patience = Box::pin(tokio::time::sleep(PREFACE_PATIENCE));
        Self { io, preface: Some(Preface { missing: PREFACE, patience }) }
    }

    fn received(&mut self, bytes: usize) {
        if let Some(preface) = &mut self.preface {
            preface.missing = preface.missing.saturating_sub(bytes);
            if preface.missing == 0 {
                self.preface = None;
            }
        }
    }

    /// Nothing more comes for now.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(preface) = &mut self.preface else { return Poll::Pending };
        preface.patience.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Bounded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        if polled.is_pending() {
            return self.poll_patience(context);
        }
        let bytes = buffer.filled().len() - before;
        self.received(bytes);
        spend(bytes, context);
        polled
    }
}

/// Takes from the task's budget what these bytes cost. With none left, whatever the task reads next
/// waits for its next turn: behind all that is ready, new bytes on other connections included.
fn spend(bytes: usize, context: &mut Context<'_>) {
    for _ in 0..bytes / BYTES_LIKE_A_READ {
        match coop::poll_proceed(context) {
            Poll::Ready(unit) => unit.made_progress(),
            Poll::Pending => return,
        }
    }
}

/// Whatever was read: an answer that waited until there is nothing more to read would keep its call open.
impl<I: AsyncWrite + Unpin> AsyncWrite for Bounded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = poll_fn(|context| Pin::new(&mut self.io).poll_write(context, bytes));
        pin!(coop::unconstrained(write)).poll(context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const FIRST_BYTES: &[u8; PREFACE] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// Time passes by itself wherever all wait for it.
    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    fn pair() -> (DuplexStream, Bounded<DuplexStream>) {
        let (caller, connection) = duplex(1 << 20);
        (caller, Bounded::new(connection))
    }

    #[test]
    fn a_preface_that_does_not_come_or_stops_midway_is_not_waited_for() {
        for said in [0, 1, PREFACE - 1] {
            run(async {
                let begun = tokio::time::Instant::now();
                let (mut caller, mut connection) = pair();
                caller.write_all(&FIRST_BYTES[..said]).await.unwrap();
                let mut read = Vec::new();
                let error = connection.read_to_end(&mut read).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert_eq!((read.len(), begun.elapsed().as_secs()), (said, 10));
            });
        }
    }

    #[test]
    fn one_byte_now_and_then_is_no_preface_either() {
        run(async {
            let (mut caller, mut connection) = pair();
            let trickle = async {
                for byte in FIRST_BYTES {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    caller.write_all(&[*byte]).await.unwrap();
                }
            };
            let mut read = Vec::new();
            tokio::select! {
                () = trickle => panic!("it was waited for"),
                error = connection.read_to_end(&mut read) => assert!(error.is_err()),
            }
        });
    }

    #[test]
    fn after_its_preface_a_connection_may_be_silent() {
        run(async {
            let (mut caller, mut connection) = pair();
            caller.write_all(FIRST_BYTES).await.unwrap();
            connection.read_exact(&mut [0; PREFACE]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3600)).await;
            caller.write_all(b"!").await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'!');
        });
    }

    #[test]
    fn who_sends_a_lot_is_read_in_turns() {
        run(async {
            let (mut caller, mut connection) = pair();
            let bytes = vec![b'x'; 256 * BYTES_LIKE_A_READ];
            caller.write_all(&bytes).await.unwrap();
            let mut read = vec![0; bytes.len()];
            let mut reading = pin!(async {
                for part in read.chunks_mut(1 << 10) {
                    connection.read_exact(part).await.unwrap();
                }
            });
            let mut turns = 0;
            poll_fn(|context| {
                turns += 1;
                reading.as_mut().poll(context)
            })
            .await;
            // By the count of its reads it would be one turn.
            assert!(turns > 1);
        });
    }

    #[test]
    fn who_has_had_its_turn_may_still_answer() {
        run(async {
            let (mut caller, mut connection) = pair();
            caller.write_all(&[b'x'; 256 * BYTES_LIKE_A_READ]).await.unwrap();
            let mut read = 0;
            let answered = poll_fn(|context| {
                let mut bytes = [0; 1 << 10];
                let mut buffer = ReadBuf::new(&mut bytes);
                while Pin::new(&mut connection).poll_read(context, &mut buffer).is_ready() {
                    read += buffer.filled().len();
                    buffer.clear();
                }
                Poll::Ready(Pin::new(&mut connection).poll_write(context, b"!").is_ready())
            });
            assert!(answered.await);
            assert!(read < 256 * BYTES_LIKE_A_READ, "{read}");
        });
    }
}
