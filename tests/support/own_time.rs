//! How long a call takes on a machine that does other work, too.
//!
//! A thread that stood ready without a core did not wait for the server, and the kernel tells for how long it
//! did: the second figure of its `schedstat`. What it cannot see is a core that a hypervisor takes away.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "test code: a failure is a panic, and the times are real"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Without the time for which this thread, or the one that answers it, stood ready without a core.
pub fn own_time(answering: &Path, call: impl FnOnce()) -> Duration {
    let delays = || delay() + delay_of(answering);
    let before = delays();
    let start = Instant::now();
    call();
    let took = start.elapsed();
    took.saturating_sub(delays().saturating_sub(before))
}

/// Where the kernel tells of the thread of this name, of a process by its id or of `self`. A thread has its name once
/// it has run for the first time.
pub fn thread(process: &str, name: &str) -> PathBuf {
    let is_named = |thread: &PathBuf| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    for _ in 0..1_000 {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut threads = threads.filter_map(|thread| Some(thread.ok()?.path()));
        if let Some(thread) = threads.find(is_named) {
            return thread.join("schedstat");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no thread is called {name}");
}

/// How long this thread has stood ready without a core; nothing where the kernel does not tell.
pub fn delay() -> Duration {
    delay_of(Path::new("/proc/thread-self/schedstat"))
}

fn delay_of(thread: &Path) -> Duration {
    let told = std::fs::read_to_string(thread).unwrap_or_default();
    let nanos = told.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
