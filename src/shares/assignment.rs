//! What Envoy reports, and what it is told.

use std::sync::Arc;

use super::whole_u32;
use crate::descriptor::{Hits, Query};

/// The entries that the requests of one holder have in common, ordered by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId(Vec<(Box<str>, Box<str>)>);

impl BucketId {
    /// The id with these entries, in whatever order they come. Of entries with the same key, the last counts.
    pub fn new(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut id = Self::default();
        for (key, value) in entries {
            id.set(key, value);
        }
        id
    }

    /// Sets the value of a key.
    pub fn set(&mut self, key: String, value: String) {
        let (key, value) = (key.into_boxed_str(), value.into_boxed_str());
        match self.0.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => self.0.get_mut(at).into_iter().for_each(|(_, of)| of.clone_from(&value)),
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Keys and values, ordered by key.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The request of one hit that its descriptor is; `None` if it is no descriptor.
    pub fn query<'q>(&'q self, domain: &'q str) -> Option<Query<'q>> {
        let mut query = Query::default();
        query.begin(domain, 1).ok()?;
        for (key, value) in self.entries() {
            query.entry(key, value);
        }
        query.close(Hits::ONE, None).ok()?;
        Some(query)
    }
}

/// The number of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// What became of the requests of a bucket id since the last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Which requests.
    pub id: BucketId,
    /// The time since the last report as Envoy tells it, in whole seconds, rounded down; 0 in the first report.
    pub elapsed: u64,
    /// How many requests Envoy let through.
    pub allowed: u64,
    /// How many it denied.
    pub denied: u64,
}

/// How many requests of a bucket id Envoy may let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// All of them.
    All,
    /// None.
    Nothing,
    /// As many as a token bucket has.
    Tokens {
        /// Its size.
        size: u32,
        /// How many tokens it gains in each interval.
        per_interval: u32,
        /// The interval in seconds.
        interval: u32,
    },
}

/// The longest interval, in seconds. Envoy 1.40 is exact with it.
const LONGEST_INTERVAL: u32 = 1_000_000_000;

/// The interval in which a token bucket with a rate of at most `fastest`, in tokens a second, gains as many tokens as fit
/// into 32 bits, so that its rate can be told most exactly. A power of ten: Envoy ignores an assignment that changes
/// nothing but the interval, so it should not change with the rate.
pub(super) fn interval_for(fastest: f64) -> u32 {
    let mut interval = LONGEST_INTERVAL;
    while interval > 1 && fastest * f64::from(interval) > f64::from(u32::MAX) {
        interval /= 10;
    }
    interval
}

impl Assignment {
    /// A token bucket with this size and rate, in tokens a second; at least one token in each.
    pub(super) fn tokens(size: f64, rate: f64, interval: u32) -> Self {
        let per_interval = (rate * f64::from(interval)).round().max(1.0);
        Self::Tokens {
            size: whole_u32(size.floor().max(1.0)),
            per_interval: whole_u32(per_interval),
            interval,
        }
    }

    /// Its rate in tokens a second, if it is a token bucket.
    pub fn rate(self) -> Option<f64> {
        match self {
            Self::Tokens { per_interval, interval, .. } => {
                Some(f64::from(per_interval) / f64::from(interval))
            }
            Self::All | Self::Nothing => None,
        }
    }

    /// Whether Envoy need not be told of this one if it has `sent`: less than it would notice.
    pub(super) fn is_about(self, sent: Self) -> bool {
        match (self, sent) {
            (
                Self::Tokens { size, interval, .. },
                Self::Tokens { size: before, interval: of, .. },
            ) if interval == of => {
                let (rate, old) = (self.rate().unwrap_or(0.0), sent.rate().unwrap_or(0.0));
                // Who gets less is told sooner than who gets more, or all together had more than there is.
                let is_rate_about = rate <= old * 1.05 && rate >= old * 0.995;
                is_rate_about && size <= before.saturating_add(before / 20) && size >= before
            }
            (one, other) => one == other,
        }
    }
}

/// What Envoy is to do with the requests of a bucket id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Which requests.
    pub id: Arc<BucketId>,
    /// What.
    pub order: Order,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To limit them so, until the assignment's time to live is over.
    Assign(Assignment),
    /// To forget the bucket id until its next request.
    Abandon,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_entries_makes_no_difference() {
        let id = |keys: [&str; 2]| BucketId::new(keys.map(|key| (key.to_owned(), "v".to_owned())));
        assert_eq!(id(["a", "b"]), id(["b", "a"]));
        assert_eq!(id(["b", "a"]).entries().next(), Some(("a", "v")));
    }

    #[test]
    fn a_key_has_one_value() {
        let entries = [("a", "1"), ("b", "2"), ("a", "3")];
        let id = BucketId::new(entries.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(id.entries().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn an_interval_is_as_long_as_the_tokens_of_the_fastest_rate_fit() {
        assert_eq!(interval_for(4.0), 1_000_000_000);
        assert_eq!(interval_for(60.0), 10_000_000);
        assert_eq!(interval_for(5.0 / 86_400.0), 1_000_000_000);
        assert_eq!(interval_for(1e12), 1);
    }

    #[test]
    fn a_rate_is_told_as_exactly_as_it_fits() {
        let assignment = Assignment::tokens(10.7, 50.0 / 3.0, interval_for(60.0));
        let expected =
            Assignment::Tokens { size: 10, per_interval: 166_666_667, interval: 10_000_000 };
        assert_eq!(assignment, expected);
        // Never a bucket that denies everything.
        let least = Assignment::Tokens { size: 1, per_interval: 1, interval: 1_000_000_000 };
        assert_eq!(Assignment::tokens(0.0, 0.0, 1_000_000_000), least);
    }

    #[test]
    fn who_gets_less_is_told_sooner_than_who_gets_more() {
        let tokens = |size, rate: f64| Assignment::tokens(size, rate, 1_000_000);
        let sent = tokens(20.0, 20.0);
        assert!(tokens(20.0, 20.9).is_about(sent));
        assert!(!tokens(20.0, 21.1).is_about(sent));
        assert!(tokens(20.0, 19.95).is_about(sent));
        assert!(!tokens(20.0, 19.8).is_about(sent));
        assert!(!tokens(19.0, 20.0).is_about(sent));
        assert!(tokens(21.0, 20.0).is_about(sent));
        assert!(!tokens(22.0, 20.0).is_about(sent));
        assert!(!Assignment::All.is_about(sent));
        assert!(Assignment::Nothing.is_about(Assignment::Nothing));
    }
}
