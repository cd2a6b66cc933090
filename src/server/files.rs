//! How many connections the system lets a process have: each is an open file.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside gRPC's connections: those of HTTP, the listeners, each worker's own, the policy while
/// it is read.
const OTHERS: u64 = 512;

/// Raises the process's limit on open files, as far as the system allows without asking, and returns for how
/// many of `wanted` connections there is room then. To run out of files would be worse than to refuse: the
/// system keeps connections waiting that cannot be accepted.
pub fn room_for(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(OTHERS);
    let allowed = raised(limit, needed);
    let room = usize::try_from(room(allowed)).unwrap_or(usize::MAX).min(wanted);
    if room < wanted {
        let cure = "raise the limit on open files (ulimit -Hn) to have them all";
        tracing::warn!(wanted, room, files = allowed, "fewer gRPC connections fit: {cure}");
    }
    room
}

/// How many files may be open, after that is raised to what is needed where it may be.
fn raised(limit: Rlimit, needed: u64) -> u64 {
    let now = limit.current.unwrap_or(u64::MAX);
    let goal = needed.min(limit.maximum.unwrap_or(u64::MAX));
    if now >= goal {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(goal), ..limit }) {
        Ok(()) => goal,
        Err(error) => {
            tracing::debug!(%error, "the limit on open files stays as it is");
            now
        }
    }
}

/// Of few files half are for connections, and at least one is.
fn room(files: u64) -> u64 {
    files.saturating_sub(OTHERS).max(files / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_files_some_are_left_for_others() {
        assert_eq!([0, 1, 256, 1024, 20_000].map(room), [1, 1, 128, 512, 19_488]);
        assert_eq!(room_for(1), 1);
        assert!(room_for(usize::MAX) >= 1);
    }
}
