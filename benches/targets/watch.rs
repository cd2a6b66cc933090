//! The longest of many calls, as far as it is ours.
//!
//! Two cores are shared with everything else on the machine, and a call during which the kernel ran
//! somebody else looks as long as one that waited for a lock. So whenever a call took long, the thread asks
//! the kernel how long it has stood ready without a core (the second figure of
//! `/proc/thread-self/schedstat`), and that is taken off. A wait for a lock is no such time: the thread is
//! not ready then. What this cannot see is a core that was taken from the thread that holds the lock;
//! hence repetitions, of which the one disturbed least counts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A call shorter than this is no stall, and asking the kernel costs some of it.
const LONG: Duration = Duration::from_micros(20);

/// Times calls on one thread.
#[derive(Debug)]
pub struct Watch {
    /// The longest call, by the clock.
    pub longest: Duration,
    /// The longest call without the time in which the thread stood ready for a core.
    pub longest_own: Duration,
    /// All calls.
    pub calls: u64,
    delayed: Duration,
}

impl Watch {
    pub fn start() -> Self {
        let (longest, longest_own) = Default::default();
        Self { longest, longest_own, calls: 0, delayed: delay() }
    }

    pub fn call<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let took = start.elapsed();
        self.calls += 1;
        if took > LONG {
            let delayed = delay();
            let own = took.saturating_sub(delayed.saturating_sub(self.delayed));
            self.delayed = delayed;
            self.longest = self.longest.max(took);
            self.longest_own = self.longest_own.max(own);
        } else {
            self.longest = self.longest.max(took);
            self.longest_own = self.longest_own.max(took);
        }
        result
    }
}

/// How long a call takes that another thread answers, without the time for which either stood ready without a
/// core.
pub fn own_time(answering: &Path, call: impl FnOnce()) -> Duration {
    let delays = || delay() + delay_of(answering);
    let before = delays();
    let start = Instant::now();
    call();
    let took = start.elapsed();
    took.saturating_sub(delays().saturating_sub(before))
}

/// Where the kernel tells of the thread of this process that has this name.
pub fn thread(name: &str) -> PathBuf {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    let is_named = |thread: &PathBuf| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    threads.find(is_named).unwrap().join("schedstat")
}

/// How much of a core a call takes, waiting for neither locks nor cores.
pub fn of_a_core<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let start = on_a_core();
    let result = call();
    (on_a_core().saturating_sub(start), result)
}

fn on_a_core() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// How long this thread has stood ready without a core; nothing where the kernel does not tell.
fn delay() -> Duration {
    delay_of(Path::new("/proc/thread-self/schedstat"))
}

fn delay_of(thread: &Path) -> Duration {
    let told = std::fs::read_to_string(thread).unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
