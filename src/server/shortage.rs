//! Logs when the memory store runs short of capacity, and when it has recovered.

use crate::store::memory::Shortage;

/// The shortages that began or ended between two states: whether each begins, and its text.
fn changes(before: Shortage, now: Shortage) -> impl Iterator<Item = (bool, &'static str)> {
    let all = [
        (before.of_buckets, now.of_buckets, "evicting buckets that are not full"),
        (before.of_leases, now.of_leases, "rejecting leases"),
    ];
    all.into_iter().filter(|(before, now, _)| before != now).map(|(_, now, text)| (now, text))
}

/// Logs the shortages that began or ended between two states.
pub(super) fn log_changes(before: Shortage, now: Shortage) {
    for (begins, text) in changes(before, now) {
        if begins {
            tracing::warn!("{text}: --max-keys is reached; raise it");
        } else {
            tracing::info!("no longer {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_logged_when_it_begins_and_when_it_ends() {
        let none = Shortage::default();
        let of_leases = Shortage { of_leases: true, ..none };
        let both = Shortage { of_buckets: true, of_leases: true };
        let begins =
            |before, now| changes(before, now).map(|(begins, _)| begins).collect::<Vec<_>>();
        assert_eq!(begins(none, both), [true, true]);
        assert_eq!(begins(both, both), [false; 0]);
        assert_eq!(begins(both, of_leases), [false]);
        let text = "rejecting leases";
        assert_eq!(changes(of_leases, none).collect::<Vec<_>>(), [(false, text)]);
    }
}
