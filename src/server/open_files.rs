//! The limit on open files, of which each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open besides gRPC connections: HTTP connections, listeners, the runtime of each worker, policy
/// files while they are read.
const RESERVED: u64 = 512;

/// Raises the process's soft limit on open files, at most to its hard limit, so that `wanted` connections fit.
/// Returns how many of them do. Running out of files would be worse than rejecting connections: those that cannot
/// be accepted wait in the system's queue.
pub fn raise_limit(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let allowed = raised(limit, needed);
    let capacity = usize::try_from(capacity(allowed)).unwrap_or(usize::MAX).min(wanted);
    if capacity < wanted {
        let hint = "raise the hard limit on open files (ulimit -Hn) to allow all of them";
        tracing::warn!(wanted, capacity, files = allowed, "fewer gRPC connections fit: {hint}");
    }
    capacity
}

/// The limit on open files, raised to `needed` as far as the hard limit allows.
fn raised(limit: Rlimit, needed: u64) -> u64 {
    let now = limit.current.unwrap_or(u64::MAX);
    let goal = needed.min(limit.maximum.unwrap_or(u64::MAX));
    if now >= goal {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), ..limit }) {
        Ok(()) => goal,
        Err(error) => {
            tracing::debug!(%error, "cannot raise the limit on open files");
            now
        }
    }
}

/// The connections that fit into this many files: all but the reserved ones, at least half, at least one.
fn capacity(files: u64) -> u64 {
    files.saturating_sub(RESERVED).max(files / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_shared_with_others() {
        assert_eq!([0, 1, 256, 1024, 20_000].map(capacity), [1, 1, 128, 512, 19_488]);
        assert_eq!(raise_limit(1), 1);
        assert!(raise_limit(usize::MAX) >= 1);
    }
}
