//! How much one connection may have the server keep of messages that have not arrived whole.
//!
//! HTTP/2's windows bound what is sent ahead of being read, but a message is read as it comes, and kept
//! until its end comes, too. With as many calls as can be open and as large as a message can be that would
//! be a gigabyte for each connection. Envoy sends a message at once, so that nearly always it is whole when
//! it is read, and then nothing is counted.
//!
//! Such messages may also end all at once: megabytes of them by a few bytes, which one turn of the connection
//! brings. So they are answered in turns of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Mutex;
use tonic::Status;

use super::turn::CALL;

/// The most bytes of such messages on one connection: those of a thousand calls of 16 KiB, or of sixteen of
/// the largest.
const MOST: usize = 16 << 20;

/// And on all connections of a worker.
const MOST_OF_ALL: usize = 256 << 20;

/// How many bytes of a connection's such messages are answered until it is others' turn: as many as are read,
/// and a short message counts for as much as there.
const TURN: usize = 16 << 10;

/// The bytes that one connection has the server keep, and all of them together.
#[derive(Debug, Clone, Default)]
pub(super) struct Arriving {
    own: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
    /// How much of this connection's messages has been answered since it was others' turn.
    answered: Arc<Mutex<usize>>,
}

/// The bytes of one message among them.
#[derive(Debug)]
pub(super) struct Part {
    of: Arriving,
    bytes: usize,
}

impl Arriving {
    /// The same for one more connection.
    pub(super) fn of_a_connection(&self) -> Self {
        Self { own: Arc::default(), answered: Arc::default(), ..self.clone() }
    }

    /// A message of which nothing has come.
    pub(super) fn part(&self) -> Part {
        Part { of: self.clone(), bytes: 0 }
    }

    /// Answers a message of so many bytes that came in parts, when it is its turn.
    pub(super) async fn in_turn<T>(&self, bytes: usize, answer: impl FnOnce() -> T) -> T {
        let mut answered = self.answered.lock().await;
        let answer = answer();
        *answered += bytes.max(CALL);
        if *answered > TURN {
            *answered = 0;
            // The next one waits until whoever else has something to do has done it.
            tokio::task::yield_now().await;
        }
        answer
    }
}

impl Part {
    /// More of the message has come, and not its end.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` where the connection has too much of this kind.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Status> {
        self.bytes += bytes;
        let grown =
            |kept: &AtomicUsize| kept.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let (own, all) = (grown(&self.of.own), grown(&self.of.all));
        if own > MOST {
            return Err(Status::resource_exhausted(format!(
                "over {MOST} bytes of messages without an end on one connection; send fewer at a time"
            )));
        }
        if all > MOST_OF_ALL {
            return Err(Status::resource_exhausted(format!(
                "over {MOST_OF_ALL} bytes of messages without an end; send messages whole"
            )));
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // The usual call has no part in it.
        if self.bytes > 0 {
            self.of.own.fetch_sub(self.bytes, Ordering::Relaxed);
            self.of.all.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_over_all_messages_and_free_again_after_each() {
        let arriving = Arriving::default();
        let (mut first, mut second) = (arriving.part(), arriving.part());
        assert!(first.grow(MOST - 1).is_ok() && second.grow(1).is_ok());
        assert!(arriving.part().grow(1).is_err());
        drop(first);
        assert!(second.grow(MOST - 1).is_ok());
        assert!(arriving.part().grow(1).is_err());
    }

    #[test]
    fn all_connections_together_are_bounded_too() {
        let worker = Arriving::default();
        let full = || {
            let mut part = worker.of_a_connection().part();
            part.grow(MOST).map(|()| part)
        };
        let parts: Vec<_> = (0..MOST_OF_ALL / MOST).map(|_| full().unwrap()).collect();
        assert!(full().is_err());
        drop(parts);
        assert!(full().is_ok());
    }
}
