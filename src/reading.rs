//! Reading what may never come, on a thread of its own: a file of a network file system that hangs keeps its
//! reader for as long as it likes. Nobody waits for such a thread beyond a deadline, the end of the process
//! least of all, and there is one at most. And a panic in what it does is an error like others.

mod caught;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

pub use self::caught::{Panicked, caught};

/// How long it is waited for what is read: shorter than who asks for it over HTTP waits for an answer.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It takes longer than anybody waits.
    #[error(
        "nothing came within {}; does its file system hang? What is there once it answers is taken \
         then", humantime::format_duration(*.0)
    )]
    Late(Duration),
    /// The one before has not ended.
    #[error(
        "the read before this one has not ended; does its file system hang? It is read again once it does"
    )]
    Busy,
    /// A fault of the program's own.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The system has no thread to give.
    #[error("no thread to read with: {0}")]
    NoThread(std::io::Error),
}

/// Reads, one at a time.
#[derive(Debug, Clone)]
pub struct Reader {
    place: Arc<Semaphore>,
    /// Whether the one that is at it is late.
    is_late: Arc<AtomicBool>,
    deadline: Duration,
}

/// How far a reader has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Whoever asked waits.
    #[default]
    Awaited,
    /// It is late, and whoever asked was told so.
    Late,
    /// It has read; what becomes of that is being settled.
    Settling,
}

impl Default for Reader {
    fn default() -> Self {
        Self::with_deadline(DEADLINE)
    }
}

impl Reader {
    /// One that is waited for no longer than that.
    pub fn with_deadline(deadline: Duration) -> Self {
        Self { place: Arc::new(Semaphore::new(1)), is_late: Arc::default(), deadline }
    }

    /// Reads, and settles what becomes of it: once, in that order, and not while another is at it. Where it
    /// comes to nothing in time, that is settled; a reader that ends later reads again, since what it has may
    /// be old, and settles that.
    pub async fn read<R, T, Read, Settle>(&self, read: Read, settle: Settle) -> T
    where
        R: 'static,
        T: Send + 'static,
        Read: Fn() -> R + Send + 'static,
        Settle: Fn(Result<R, Unread>) -> T + Send + Sync + 'static,
    {
        let until = Instant::now() + self.deadline;
        let Some(place) = self.place(until).await else { return settle(Err(Unread::Busy)) };
        let settle = Arc::new(settle);
        let (sender, settled) = oneshot::channel();
        let state = Arc::new(Mutex::new(State::Awaited));
        let errand = Errand {
            place,
            is_late: Arc::clone(&self.is_late),
            state: Arc::clone(&state),
            read,
            settle: Arc::clone(&settle),
        };
        let thread = std::thread::Builder::new().name("reader".to_owned());
        // Nobody joins it.
        if let Err(error) = thread.spawn(move || drop(sender.send(errand.run()))) {
            return settle(Err(Unread::NoThread(error)));
        }
        let mut settled = settled;
        if let Ok(Ok(settled)) = timeout_at(until, &mut settled).await {
            return settled;
        }
        {
            let mut state = state.lock();
            if *state == State::Awaited {
                *state = State::Late;
                self.is_late.store(true, Release);
                // With the state held, so that the reader settles after this.
                return settle(Err(Unread::Late(self.deadline)));
            }
        }
        // It is at its end.
        settled.await.unwrap_or_else(|_| settle(Err(Unread::Busy)))
    }

    /// The place of the one reader: none where another keeps it too long, at once if that is known.
    async fn place(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.place);
        match Arc::clone(&place).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) if self.is_late.load(Acquire) => None,
            Err(_) => timeout_at(until, place.acquire_owned()).await.ok()?.ok(),
        }
    }
}

/// What a reader's thread does.
struct Errand<Read, Settle> {
    place: OwnedSemaphorePermit,
    is_late: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    read: Read,
    settle: Arc<Settle>,
}

impl<Read, Settle> Errand<Read, Settle> {
    fn run<R, T>(self) -> T
    where
        Read: Fn() -> R,
        Settle: Fn(Result<R, Unread>) -> T,
    {
        let Self { place, is_late, state, read, settle } = self;
        let read = || {
            trouble();
            read()
        };
        let mut done = caught(read);
        if !is_awaited(&state) {
            done = caught(read);
        }
        let settled = settle(done.map_err(Unread::from));
        is_late.store(false, Release);
        drop(place);
        settled
    }
}

fn is_awaited(state: &Mutex<State>) -> bool {
    let mut state = state.lock();
    let is_awaited = *state == State::Awaited;
    if is_awaited {
        *state = State::Settling;
    }
    is_awaited
}

/// Reads where nothing else is going on yet, as at the start.
///
/// # Errors
/// [`Unread`] where nothing comes in time. Its thread is left to itself then.
pub fn at_once<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Unread> {
    let (sender, done) = sync_channel(1);
    let thread = std::thread::Builder::new().name("reader".to_owned());
    let read = || {
        trouble();
        read()
    };
    thread.spawn(move || drop(sender.send(caught(read)))).map_err(Unread::NoThread)?;
    match done.recv_timeout(DEADLINE) {
        Ok(done) => Ok(done?),
        Err(RecvTimeoutError::Timeout) => Err(Unread::Late(DEADLINE)),
        Err(RecvTimeoutError::Disconnected) => Err(Unread::Busy),
    }
}

/// What a test has a reader meet, as the file says that this variable names: no file system hangs when asked to.
/// A release build knows nothing of it.
#[cfg(debug_assertions)]
const TROUBLE: &str = "TOLLGATE_TEST_READER";

#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "it is what the test asks for")]
fn trouble() {
    let Some(path) = std::env::var_os(TROUBLE) else { return };
    loop {
        match std::fs::read_to_string(&path).as_deref() {
            Ok("hang") => std::thread::park_timeout(Duration::from_millis(10)),
            Ok("panic") => panic!("as the test says"),
            _ => return,
        }
    }
}

#[cfg(not(debug_assertions))]
const fn trouble() {}

#[cfg(test)]
mod tests;
