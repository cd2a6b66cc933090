//! The longest of many calls, as far as it is ours.
//!
//! Two cores are shared with everything else on the machine, and a call during which the kernel ran
//! somebody else looks as long as one that waited for a lock. So whenever a call took long, the thread asks
//! the kernel how long it has stood ready without a core (the second figure of
//! `/proc/thread-self/schedstat`), and that is taken off. A wait for a lock is no such time: the thread is
//! not ready then. What this cannot see is a core that was taken from the thread that holds the lock;
//! hence repetitions, of which the one disturbed least counts.

use std::time::{Duration, Instant};

use crate::own_time::delay;

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
