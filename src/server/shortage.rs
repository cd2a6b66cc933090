//! Tells in the log when the store in memory has got short of room, and when that is over.

use crate::store::memory::Shortage;

/// What is to be told of one that was `before`, and whether it begins.
fn news(before: Shortage, now: Shortage) -> impl Iterator<Item = (bool, &'static str)> {
    let all = [
        (before.of_buckets, now.of_buckets, "buckets that are not full are forgotten"),
        (before.of_leases, now.of_leases, "leases are refused, as many as are kept are held"),
    ];
    all.into_iter().filter(|(before, now, _)| before != now).map(|(_, now, what)| (now, what))
}

/// Tells what has changed.
pub(super) fn tell(before: Shortage, now: Shortage) {
    for (begins, what) in news(before, now) {
        if begins {
            tracing::warn!("{what}: --max-keys is reached");
        } else {
            tracing::info!("no more, for a minute: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_when_it_begins_and_when_it_ends() {
        let none = Shortage::default();
        let of_leases = Shortage { of_leases: true, ..none };
        let both = Shortage { of_buckets: true, of_leases: true };
        let told = |before, now| news(before, now).map(|(begins, _)| begins).collect::<Vec<_>>();
        assert_eq!(told(none, both), [true, true]);
        assert_eq!(told(both, both), [false; 0]);
        assert_eq!(told(both, of_leases), [false]);
        let text = "leases are refused, as many as are kept are held";
        assert_eq!(news(of_leases, none).collect::<Vec<_>>(), [(false, text)]);
    }
}
