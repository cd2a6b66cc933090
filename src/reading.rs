//! Reads that may hang, as on a network file system. Each runs on a thread of its own, of which a [`Reader`] has one at
//! most; callers wait until a deadline, and the exit of the process does not wait. A panic in a read is an error.

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

/// How long callers wait for a read. Shorter than the timeout of a request over HTTP.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It missed the deadline.
    #[error(
        "no answer within {}; does its file system hang? The file is read once it answers",
        humantime::format_duration(*.0)
    )]
    Late(Duration),
    /// The previous read has not ended.
    #[error(
        "the previous read has not ended; does its file system hang? The file is read once it answers"
    )]
    Busy,
    /// A bug in tollgate.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The system refused a thread.
    #[error("cannot start a thread to read with: {0}")]
    NoThread(std::io::Error),
}

/// Runs one read at a time.
#[derive(Debug, Clone)]
pub struct Reader {
    /// One permit: for the running read.
    permit: Arc<Semaphore>,
    /// Whether the running read has missed its deadline.
    is_late: Arc<AtomicBool>,
    deadline: Duration,
}

/// The progress of a read.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Its caller waits.
    #[default]
    Awaited,
    /// Its caller has got [`ReadError::Late`].
    Late,
    /// It is done, and its result is being applied.
    Applying,
}

impl Default for Reader {
    fn default() -> Self {
        Self::with_deadline(DEADLINE)
    }
}

impl Reader {
    /// A reader with another deadline than [`DEADLINE`].
    pub fn with_deadline(deadline: Duration) -> Self {
        Self { permit: Arc::new(Semaphore::new(1)), is_late: Arc::default(), deadline }
    }

    /// Calls `read`, then `apply` with its result, while no other read runs. At the deadline `apply` gets
    /// [`ReadError::Late`] instead. A late read that ends after all is repeated, since its result may be outdated, and
    /// applied then.
    pub async fn read<R, T, Read, Apply>(&self, read: Read, apply: Apply) -> T
    where
        R: 'static,
        T: Send + 'static,
        Read: Fn() -> R + Send + 'static,
        Apply: Fn(Result<R, ReadError>) -> T + Send + Sync + 'static,
    {
        let until = Instant::now() + self.deadline;
        let Some(permit) = self.permit(until).await else { return apply(Err(ReadError::Busy)) };
        let apply = Arc::new(apply);
        let (sender, applied) = oneshot::channel();
        let state = Arc::new(Mutex::new(State::Awaited));
        let job = Job {
            permit,
            is_late: Arc::clone(&self.is_late),
            state: Arc::clone(&state),
            read,
            apply: Arc::clone(&apply),
        };
        let thread = std::thread::Builder::new().name("reader".to_owned());
        // It is never joined: it may hang for ever.
        if let Err(error) = thread.spawn(move || drop(sender.send(job.run()))) {
            return apply(Err(ReadError::NoThread(error)));
        }
        let mut applied = applied;
        if let Ok(Ok(applied)) = timeout_at(until, &mut applied).await {
            return applied;
        }
        {
            let mut state = state.lock();
            if *state == State::Awaited {
                *state = State::Late;
                self.is_late.store(true, Release);
                // While the state is locked, so that a late result is applied after this.
                return apply(Err(ReadError::Late(self.deadline)));
            }
        }
        // The read is done, and its result is being applied.
        applied.await.unwrap_or_else(|_| apply(Err(ReadError::Busy)))
    }

    /// The permit to read; `None` if another read keeps it beyond the deadline, at once if that read is known to be
    /// late.
    async fn permit(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permit);
        match Arc::clone(&permit).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) if self.is_late.load(Acquire) => None,
            Err(_) => timeout_at(until, permit.acquire_owned()).await.ok()?.ok(),
        }
    }
}

/// The work of a read's thread.
struct Job<Read, Apply> {
    permit: OwnedSemaphorePermit,
    is_late: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
    read: Read,
    apply: Arc<Apply>,
}

impl<Read, Apply> Job<Read, Apply> {
    fn run<R, T>(self) -> T
    where
        Read: Fn() -> R,
        Apply: Fn(Result<R, ReadError>) -> T,
    {
        let Self { permit, is_late, state, read, apply } = self;
        let read = || {
            simulate_test_fault();
            read()
        };
        let mut done = caught(read);
        if !is_awaited(&state) {
            done = caught(read);
        }
        let applied = apply(done.map_err(ReadError::from));
        is_late.store(false, Release);
        drop(permit);
        applied
    }
}

fn is_awaited(state: &Mutex<State>) -> bool {
    let mut state = state.lock();
    let is_awaited = *state == State::Awaited;
    if is_awaited {
        *state = State::Applying;
    }
    is_awaited
}

/// Reads once, blocking the caller, as at the start.
///
/// # Errors
/// [`ReadError`] if it misses the deadline, and then leaves the thread behind; or if it panics.
pub fn read_now<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    let (sender, done) = sync_channel(1);
    let thread = std::thread::Builder::new().name("reader".to_owned());
    let read = || {
        simulate_test_fault();
        read()
    };
    thread.spawn(move || drop(sender.send(caught(read)))).map_err(ReadError::NoThread)?;
    match done.recv_timeout(DEADLINE) {
        Ok(done) => Ok(done?),
        Err(RecvTimeoutError::Timeout) => Err(ReadError::Late(DEADLINE)),
        Err(RecvTimeoutError::Disconnected) => Err(ReadError::Busy),
    }
}

/// Names a file with a fault to simulate, for tests: no file system hangs on demand. Not in release builds.
#[cfg(debug_assertions)]
const TEST_FAULT: &str = "TOLLGATE_TEST_READER";

#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "the test asks for it")]
fn simulate_test_fault() {
    let Some(path) = std::env::var_os(TEST_FAULT) else { return };
    loop {
        match std::fs::read_to_string(&path).as_deref() {
            Ok("hang") => std::thread::park_timeout(Duration::from_millis(10)),
            Ok("panic") => panic!("as the test says"),
            _ => return,
        }
    }
}

#[cfg(not(debug_assertions))]
const fn simulate_test_fault() {}

#[cfg(test)]
mod tests;
