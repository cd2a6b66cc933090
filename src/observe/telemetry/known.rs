//! Whose series there are, and how long those stay that no policy names any more.

use hashbrown::HashMap;

/// Of how many domains and rows series are kept that are neither of the policies in force nor of those before: the
/// latest, so that a row that comes back goes on counting from where it was.
const KEPT: usize = 1_000;

/// Who has series: a domain, or a row of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) domain: String,
    /// Table and row.
    pub(super) row: Option<(String, String)>,
}

/// Everybody who has series.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How often policies came.
    round: u64,
    /// The last round in which each was there.
    last: HashMap<Owner, u64>,
}

impl Known {
    /// Begins a round: policies come that replace those before.
    pub(super) const fn begin(&mut self) {
        self.round += 1;
    }

    /// Notes who is there in this round.
    pub(super) fn note(&mut self, owner: Owner) {
        self.last.insert(owner, self.round);
    }

    /// Forgets those whose series go, the oldest first, and returns them. Nobody goes who was there in the round
    /// before: calls may still be counted there, and be asked for.
    pub(super) fn forget(&mut self) -> Vec<Owner> {
        let before = self.round.saturating_sub(1);
        let gone = self.last.iter().filter(|(_, last)| **last < before);
        let mut gone: Vec<_> = gone.map(|(owner, last)| (*last, owner.clone())).collect();
        gone.sort_unstable_by_key(|(last, _)| *last);
        gone.truncate(gone.len().saturating_sub(KEPT));
        let gone: Vec<_> = gone.into_iter().map(|(_, owner)| owner).collect();
        for owner in &gone {
            self.last.remove(owner);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner { domain: "d".to_owned(), row: Some(("t".to_owned(), name.to_owned())) }
    }

    fn round(known: &mut Known, names: &[&str]) -> Vec<Owner> {
        known.begin();
        names.iter().for_each(|name| known.note(owner(name)));
        known.forget()
    }

    #[test]
    fn the_oldest_go_first_and_none_that_is_there_or_was_just_now() {
        let mut known = Known::default();
        assert!(round(&mut known, &["stays", "first"]).is_empty());
        assert!(round(&mut known, &["stays", "second"]).is_empty());
        let many: Vec<_> = (0..KEPT + 5).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| &**name).chain(["stays"]).collect();
        assert!(round(&mut known, &many).is_empty());
        assert!(round(&mut known, &["stays"]).is_empty(), "the many were there just now");
        let gone = round(&mut known, &["stays"]);
        assert_eq!(gone.len(), KEPT + 7 - KEPT);
        assert_eq!(gone[..2], [owner("first"), owner("second")]);
        assert!(!gone.contains(&owner("stays")));
        assert!(round(&mut known, &["stays"]).is_empty());
    }
}
