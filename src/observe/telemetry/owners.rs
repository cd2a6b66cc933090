//! Which domains and rows have series, and how long series stay after the policies no longer name them.

use std::hash::Hash;

use hashbrown::HashMap;

/// The maximum number of domains and rows that keep their series though neither the policies in force nor the
/// previous ones name them. The latest are kept, so that a row that comes back continues its counters.
const MAX_RETIRED: usize = 1_000;

/// The owner of series of ours: a domain, or one of its rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Owner {
    pub(super) domain: String,
    /// Table and row.
    pub(super) row: Option<(String, String)>,
}

/// All owners of series.
#[derive(Debug)]
pub(super) struct Owners<T = Owner> {
    /// How many times policies were loaded.
    round: u64,
    /// The last round in which policies named each owner.
    last: HashMap<T, u64>,
}

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self { round: 0, last: HashMap::new() }
    }
}

impl<T: Ord + Hash + Clone> Owners<T> {
    /// Begins a round: new policies replace the previous ones.
    pub(super) const fn begin(&mut self) {
        self.round += 1;
    }

    /// Records an owner that the policies of this round name.
    pub(super) fn record(&mut self, owner: T) {
        self.last.insert(owner, self.round);
    }

    /// Removes the owners beyond [`MAX_RETIRED`], the oldest first and those of one round by name, and returns them.
    /// Owners of this round and of the previous one stay: calls that began under the previous policies still count.
    pub(super) fn retire(&mut self) -> Vec<T> {
        let before = self.round.saturating_sub(1);
        let gone = self.last.iter().filter(|(_, last)| **last < before);
        let mut gone: Vec<_> = gone.map(|(owner, last)| (*last, owner.clone())).collect();
        gone.sort_unstable();
        gone.truncate(gone.len().saturating_sub(MAX_RETIRED));
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

    fn round(owners: &mut Owners, names: &[&str]) -> Vec<Owner> {
        owners.begin();
        names.iter().for_each(|name| owners.record(owner(name)));
        owners.retire()
    }

    #[test]
    fn the_oldest_owners_are_removed_first_and_none_of_the_last_two_rounds() {
        let mut owners = Owners::default();
        assert!(round(&mut owners, &["stays", "first"]).is_empty());
        assert!(round(&mut owners, &["stays", "second"]).is_empty());
        let many: Vec<_> = (0..MAX_RETIRED + 5).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| &**name).chain(["stays"]).collect();
        assert!(round(&mut owners, &many).is_empty());
        assert!(round(&mut owners, &["stays"]).is_empty(), "the last round named all of them");
        let gone = round(&mut owners, &["stays"]);
        assert_eq!(gone.len(), MAX_RETIRED + 7 - MAX_RETIRED);
        assert_eq!(gone[..2], [owner("first"), owner("second")]);
        assert!(!gone.contains(&owner("stays")));
        assert!(round(&mut owners, &["stays"]).is_empty());
    }
}
