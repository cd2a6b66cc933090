//! Writing to a pipe whose reader may stall or be gone: it delays neither serving nor the exit, and is no error.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long to wait for the reader of standard error.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// A writer that drops what is written after its reader is gone, as with `tollgate query | head -1`. The command goes
/// on to its own exit code.
pub(super) struct WhileRead<'a> {
    out: &'a mut dyn Write,
    is_closed: bool,
}

impl<'a> WhileRead<'a> {
    pub(super) const fn new(out: &'a mut dyn Write) -> Self {
        Self { out, is_closed: false }
    }

    /// The result of a write, or `otherwise` if the reader is gone.
    fn unless_closed<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl Write for WhileRead<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.unless_closed(flushed, ())
    }
}

/// Writes an error to standard error, or gives up after [`WRITE_TIMEOUT`].
pub(super) fn report_error(message: String) {
    // There is nowhere else to report that standard error is closed.
    write_or_give_up(move || drop(writeln!(io::stderr(), "{message}")));
}

/// Calls `write`, and returns when it has, or after [`WRITE_TIMEOUT`].
pub(super) fn write_or_give_up(write: impl Fn() + Send + Sync + 'static) {
    let write = Arc::new(write);
    let in_thread = Arc::clone(&write);
    match write_in_background(move || in_thread()) {
        // Nothing is sent: the channel closes when `write` has returned.
        Ok(ended) => drop(ended.recv_timeout(WRITE_TIMEOUT)),
        // Having no thread may be the very error to report.
        Err(_) => write(),
    }
}

/// Calls `write` on a thread of its own. The channel closes when it has returned.
///
/// # Errors
/// If the system refuses a thread.
pub(super) fn write_in_background(
    write: impl FnOnce() + Send + 'static,
) -> io::Result<Receiver<Infallible>> {
    let (end, ended) = channel();
    std::thread::Builder::new().name("message".to_owned()).spawn(move || {
        write();
        drop(end);
    })?;
    Ok(ended)
}
