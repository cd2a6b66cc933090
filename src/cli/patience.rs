//! Writing where perhaps nobody reads: a pipe that is full must not keep the process from serving, nor from ending.

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long who reads is waited for.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Says on standard error what went wrong.
pub(super) fn complain(message: String) {
    // Nothing can be done about a standard error that is closed.
    patiently(move || drop(writeln!(io::stderr(), "{message}")));
}

/// Writes, and goes on without it where that takes too long.
pub(super) fn patiently(write: impl Fn() + Send + Sync + 'static) {
    let write = Arc::new(write);
    let its_own = Arc::clone(&write);
    match aside(move || its_own()) {
        // Nothing is sent: it is written when the other end is gone.
        Ok(ended) => drop(ended.recv_timeout(PATIENCE)),
        // Where the system gives no thread, that may be what is to be said.
        Err(_) => write(),
    }
}

/// Writes on a thread of its own, for which nobody has to wait. It is gone from the channel when it has written.
///
/// # Errors
/// Where the system gives no thread.
pub(super) fn aside(write: impl FnOnce() + Send + 'static) -> io::Result<Receiver<Infallible>> {
    let (end, ended) = channel();
    std::thread::Builder::new().name("message".to_owned()).spawn(move || {
        write();
        drop(end);
    })?;
    Ok(ended)
}
