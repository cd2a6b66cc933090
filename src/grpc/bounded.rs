//! How a connection is read, in turns with others and only while it reads, and written, many answers at once.
//!
//! Of a connection that is sent faster than it is read, all that a task's budget allows is read at once. The
//! budget counts reads, 128 of them, and a read brings dozens of calls, or hundreds that are begun and reset: a
//! call on another connection would wait for thousands. So here every frame takes of the budget what it costs,
//! see [`Frames`], and what a read brought beyond it is kept for the next turn.
//!
//! h2 copies an answer of up to 1 KiB behind the others that are due, unless the connection can write from
//! several buffers at once: then only one of up to 256 bytes, and every larger one is written by itself. A
//! denial with its headers, body and metadata is larger than that. Copying a kilobyte is far cheaper than a
//! system call, so this connection says that it cannot.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::turn::Frames;

/// How far a connection has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    is_behind: AtomicBool,
    /// Who waits until it is not.
    waiting: Mutex<Vec<Waker>>,
    keeps_end_back: AtomicBool,
    has_ended: AtomicBool,
}

impl Reading {
    /// Ready once all that has come was read. What is there and has not been read may give up a call that has.
    pub(super) fn poll_dry(&self, context: &Context<'_>) -> Poll<()> {
        if !self.0.is_behind.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.0.waiting.lock().push(context.waker().clone());
        Poll::Pending
    }

    fn dry(&self) {
        if self.0.is_behind.swap(false, Ordering::Relaxed) {
            std::mem::take(&mut *self.0.waiting.lock()).into_iter().for_each(Waker::wake);
        }
    }

    /// From now on the end of the connection is kept back: h2 would drop what came right before it.
    pub(super) fn keep_end_back(&self) {
        self.0.keeps_end_back.store(true, Ordering::Relaxed);
    }

    /// Lets an end that has come be read, once. Returns whether one has.
    pub(super) fn let_end(&self) -> bool {
        let has_ended = self.0.has_ended.load(Ordering::Relaxed);
        has_ended && self.0.keeps_end_back.swap(false, Ordering::Relaxed)
    }

    fn pending(&self) -> Poll<io::Result<()>> {
        if coop::has_budget_remaining() {
            self.dry();
        }
        Poll::Pending
    }

    fn end(&self) -> Poll<io::Result<()>> {
        self.dry();
        self.0.has_ended.store(true, Ordering::Relaxed);
        if self.0.keeps_end_back.load(Ordering::Relaxed) {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

/// A connection that is read in turns, and writes from one buffer at a time.
#[derive(Debug)]
pub(super) struct Bounded<I> {
    io: I,
    reading: Reading,
    frames: Frames,
    /// What was read and is not of this turn.
    kept: Bytes,
    /// Whether the other end takes nothing for now.
    is_full: bool,
}

impl<I> Bounded<I> {
    pub(super) const fn new(io: I, reading: Reading) -> Self {
        Self { io, reading, frames: Frames::new(), kept: Bytes::new(), is_full: false }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Bounded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_full {
            // Who does not read is not read: its answers would have to be kept. Writing wakes it.
            return Poll::Pending;
        }
        if !self.kept.is_empty() {
            ready!(coop::poll_proceed(context)).made_progress();
            let Self { frames, kept, .. } = &mut *self;
            let fits = kept.get(..buffer.remaining()).unwrap_or(kept);
            let passed = kept.split_to(frames.pass(fits, context));
            buffer.put_slice(&passed);
            return Poll::Ready(Ok(()));
        }
        if !coop::has_budget_remaining() {
            // What TLS has decrypted already is read without being asked for any.
            ready!(coop::poll_proceed(context)).made_progress();
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(context, buffer) else {
            return self.reading.pending();
        };
        read?;
        let (_, came) = buffer.filled().split_at(before);
        if came.is_empty() && buffer.remaining() > 0 {
            return self.reading.end();
        }
        self.reading.0.is_behind.store(true, Ordering::Relaxed);
        let passed = self.frames.pass(came, context);
        if let Some(kept @ [_, ..]) = came.get(passed..) {
            self.kept = Bytes::copy_from_slice(kept);
            buffer.set_filled(before + passed);
        }
        Poll::Ready(Ok(()))
    }
}

/// Whatever was read: an answer that waited until there is nothing more to read would keep its call open. Without
/// `is_write_vectored`, whose default is the point.
impl<I: AsyncWrite + Unpin> AsyncWrite for Bounded<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = poll_fn(|context| Pin::new(&mut self.io).poll_write(context, bytes));
        let written = pin!(coop::unconstrained(write)).poll(context);
        if std::mem::replace(&mut self.is_full, written.is_pending()) && written.is_ready() {
            // It is to be read again.
            context.waker().wake_by_ref();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = poll_fn(|context| Pin::new(&mut self.io).poll_flush(context));
        pin!(coop::unconstrained(flush)).poll(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shutdown = poll_fn(|context| Pin::new(&mut self.io).poll_shutdown(context));
        pin!(coop::unconstrained(shutdown)).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::turn::{HEAD, PREFACE, UNIT};
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    }

    fn pair() -> (DuplexStream, Bounded<DuplexStream>) {
        let (caller, connection) = duplex(1 << 20);
        (caller, Bounded::new(connection, Reading::default()))
    }

    /// A preface and so many frames that cost a unit each.
    fn frames(count: usize) -> Vec<u8> {
        let mut frame = [b'x'; UNIT];
        let length = u32::try_from(UNIT - HEAD).unwrap() << 8;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        [&[b'P'; PREFACE][..], &frame.repeat(count)].concat()
    }

    #[test]
    fn who_does_not_read_is_not_read_until_it_does() {
        run(async {
            let (mut caller, connection) = duplex(16);
            let mut connection = Bounded::new(connection, Reading::default());
            caller.write_all(b"?").await.unwrap();
            connection.write_all(&[b'!'; 16]).await.unwrap();
            let write = |connection: &mut Bounded<DuplexStream>, context: &mut Context<'_>| {
                Pin::new(connection).poll_write(context, b"!").is_pending()
            };
            assert!(poll_fn(|context| Poll::Ready(write(&mut connection, context))).await);
            let mut read = [0; 1];
            let is_read = poll_fn(|context| {
                let mut buffer = ReadBuf::new(&mut read);
                Poll::Ready(Pin::new(&mut connection).poll_read(context, &mut buffer).is_ready())
            });
            assert!(!is_read.await);
            caller.read_exact(&mut [0; 16]).await.unwrap();
            assert!(!poll_fn(|context| Poll::Ready(write(&mut connection, context))).await);
            assert_eq!(connection.read_u8().await.unwrap(), b'?');
        });
    }

    #[test]
    fn an_end_is_kept_back_until_it_may_come() {
        run(async {
            let (caller, mut connection) = pair();
            let reading = connection.reading.clone();
            reading.keep_end_back();
            drop(caller);
            let mut read = pin!(connection.read_u8());
            let is_pending = |read: Poll<_>| Poll::Ready(read.is_pending());
            assert!(poll_fn(|context| is_pending(read.as_mut().poll(context))).await);
            assert!(reading.let_end() && !reading.let_end());
            assert!(read.await.is_err());
        });
    }

    #[test]
    fn a_connection_is_behind_until_it_has_been_read_dry() {
        run(async {
            let (mut caller, mut connection) = pair();
            let reading = connection.reading.clone();
            caller.write_all(&frames(256)).await.unwrap();
            let mut read = 0;
            let mut turn = async || {
                poll_fn(|context| {
                    let mut bytes = [0; 1 << 10];
                    let mut buffer = ReadBuf::new(&mut bytes);
                    while Pin::new(&mut connection).poll_read(context, &mut buffer).is_ready() {
                        read += buffer.filled().len();
                        buffer.clear();
                    }
                    Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
                read
            };
            assert!(turn().await < 256 * UNIT);
            let told = reading.clone();
            let dry = tokio::spawn(poll_fn(move |context| told.poll_dry(context)));
            tokio::task::yield_now().await;
            assert!(!dry.is_finished());
            while turn().await < frames(256).len() {}
            turn().await;
            dry.await.unwrap();
        });
    }

    #[test]
    fn who_sends_a_lot_is_read_in_turns() {
        run(async {
            let (mut caller, mut connection) = pair();
            let bytes = frames(256);
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
            assert_eq!(read, bytes);
        });
    }

    /// What has been decrypted already, a record at a time: no read of it asks the budget.
    struct Decrypted(std::vec::IntoIter<Vec<u8>>);

    impl AsyncRead for Decrypted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(record) = self.0.next() {
                buffer.put_slice(&record);
            }
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn who_sends_each_frame_in_a_record_of_its_own_has_turns_as_well() {
        run(async {
            let bytes = frames(1000);
            let (preface, frames) = bytes.split_at(PREFACE);
            let mut records = vec![preface.to_vec()];
            records.extend(frames.chunks(UNIT).map(<[u8]>::to_vec));
            let mut connection = Bounded::new(Decrypted(records.into_iter()), Reading::default());
            let turn = poll_fn(move |context| {
                let mut bytes = [0; 1 << 10];
                let mut read = 0;
                loop {
                    let mut buffer = ReadBuf::new(&mut bytes);
                    match Pin::new(&mut connection).poll_read(context, &mut buffer) {
                        Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                            read += buffer.filled().len();
                        }
                        _ => return Poll::Ready(read),
                    }
                }
            });
            let read = tokio::spawn(turn).await.unwrap();
            assert!(read > 100 * UNIT && read <= 130 * UNIT, "{read}");
        });
    }

    #[test]
    fn who_has_had_its_turn_may_still_answer() {
        run(async {
            let (mut caller, mut connection) = pair();
            caller.write_all(&frames(256)).await.unwrap();
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
            assert!(read < 256 * UNIT, "{read}");
        });
    }
}
