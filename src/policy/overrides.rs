//! The overrides of one row. Thousands of them, one for each tenant, cost a call no more than one.
//!
//! Of the overrides that apply to a call, the first in the file is used. To find it without trying all of them, the
//! overrides with whole values of one entry in their conditions are indexed by these values; the entry is the one with
//! the most different values. All other overrides are tried in turn.

use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

use super::condition::{Condition, Conditions, Matcher};
use super::rule::Rule;
use super::values::{KeyIndex, Values};
use crate::clock::Timestamp;

/// Other buckets for some of the calls that match a row.
#[derive(Debug, Clone)]
pub struct Override {
    pub(super) when: Conditions,
    pub(super) until: Option<Timestamp>,
    pub(super) rules: Box<[Rule]>,
}

impl Override {
    pub(super) fn applies(&self, values: &Values<'_>, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until) && self.when.all_match(values)
    }

    /// The conditions of the calls to which it applies.
    pub const fn when(&self) -> &Conditions {
        &self.when
    }

    /// The time from which it no longer applies; none for an override without end.
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The buckets in place of the row's; none if the calls are unlimited.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// Overrides in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    listed: Vec<Override>,
    /// The entry whose values are indexed.
    indexed_key: Option<KeyIndex>,
    /// For each value of that entry, the overrides that require it.
    by_value: HashMap<Box<[u8]>, SmallVec<[usize; 2]>>,
    /// The overrides that require no value of that entry.
    others: Vec<usize>,
}

impl Overrides {
    pub(crate) fn listed(&self) -> &[Override] {
        &self.listed
    }

    /// The rules of all overrides.
    pub(super) fn rules_mut(&mut self) -> impl Iterator<Item = &mut Rule> {
        self.listed.iter_mut().flat_map(|listed| &mut listed.rules)
    }

    /// Adds an override after the others. [`Self::find`] finds it once [`Self::index`] is called.
    pub(crate) fn push(&mut self, added: Override) {
        self.listed.push(added);
    }

    /// Indexes the overrides by value.
    pub(crate) fn index(&mut self) {
        self.indexed_key = most_selective_key(&self.listed);
        self.by_value.clear();
        self.others.clear();
        for (at, listed) in self.listed.iter().enumerate() {
            let required = listed.when.0.iter().find_map(|condition| {
                let texts = texts(condition)?;
                (Some(condition.key) == self.indexed_key).then_some(texts)
            });
            match required {
                Some(texts) => {
                    texts.into_iter().for_each(|text| {
                        self.by_value.entry(text.as_bytes().into()).or_default().push(at);
                    });
                }
                None => self.others.push(at),
            }
        }
    }

    /// The first override that applies to a call at `now`.
    #[inline]
    pub(crate) fn find(&self, values: &Values<'_>, now: Timestamp) -> Option<&Override> {
        // Most rows have none.
        if self.listed.is_empty() { None } else { self.find_listed(values, now) }
    }

    fn find_listed(&self, values: &Values<'_>, now: Timestamp) -> Option<&Override> {
        let value = self.indexed_key.and_then(|key| values.get(key));
        let indexed = value.and_then(|value| self.by_value.get(value));
        let indexed = indexed.map_or(&[][..], |found| found);
        let first = |candidates: &[usize]| {
            let applies = |at: &usize| self.listed.get(*at)?.applies(values, now).then_some(*at);
            candidates.iter().find_map(applies)
        };
        let at = [first(indexed), first(&self.others)].into_iter().flatten().min()?;
        self.listed.get(at)
    }
}

/// The entry of which the overrides require the most different values.
fn most_selective_key(listed: &[Override]) -> Option<KeyIndex> {
    let mut required: HashMap<KeyIndex, HashSet<&str>> = HashMap::new();
    for condition in listed.iter().flat_map(|listed| &listed.when.0) {
        if let Some(texts) = texts(condition) {
            required.entry(condition.key).or_default().extend(texts);
        }
    }
    required.into_iter().max_by_key(|(key, texts)| (texts.len(), *key)).map(|(key, _)| key)
}

/// The values of which a condition requires one; `None` if it does not require a whole value. A negated condition
/// requires none: it matches every value but those that it names.
fn texts(condition: &Condition) -> Option<Vec<&str>> {
    match &condition.matcher {
        Matcher::Equal(text) => Some(vec![text]),
        Matcher::OneOf(texts) => Some(texts.sorted()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::{Hits, Query};
    use crate::policy::address::Addresses;
    use crate::policy::values::Keys;

    const NOW: Timestamp = Timestamp::from_unix_nanos(1_800_000_000_000_000_000);

    /// A row's overrides, each identified by its position.
    struct Row {
        keys: Keys,
        overrides: Overrides,
    }

    impl Row {
        fn new() -> Self {
            Self { keys: Keys::default(), overrides: Overrides::default() }
        }

        fn with(mut self, when: &[(&str, Matcher)], until: Option<Timestamp>) -> Self {
            let condition = |(key, test): &(&str, Matcher)| Condition {
                key: self.keys.intern(key),
                matcher: test.clone(),
            };
            let when = Conditions(when.iter().map(condition).collect());
            self.overrides.push(Override { when, until, rules: Box::default() });
            self.overrides.index();
            self
        }

        /// The position of the override that is found, which must be the one found by trying each in turn.
        fn found(&self, entries: &[(&'static str, &'static str)]) -> Option<usize> {
            let mut query = Query::default();
            query.begin("d", 1).unwrap();
            entries.iter().for_each(|(key, value)| query.entry(*key, *value));
            query.close(Hits::ONE, None).unwrap();
            let addresses = Addresses::default();
            let mut values = Values::new(&addresses);
            self.keys.project(query.descriptors().next().unwrap().entries(), &mut values);
            let found = self.overrides.find(&values, NOW);
            let listed = self.overrides.listed();
            let in_turn = listed.iter().position(|listed| listed.applies(&values, NOW));
            let found =
                listed.iter().position(|listed| found.is_some_and(|it| std::ptr::eq(it, listed)));
            assert_eq!(found, in_turn);
            found
        }
    }

    fn equal(text: &str) -> Matcher {
        Matcher::Equal(text.into())
    }

    #[test]
    fn the_first_override_that_applies_is_found() {
        let row = Row::new()
            .with(&[("tenant", equal("a")), ("scope", equal("x"))], None)
            .with(&[("tenant", Matcher::Prefix("b".into()))], None)
            .with(
                &[("tenant", Matcher::OneOf(["a", "b", "c"].map(Box::from).into_iter().collect()))],
                None,
            )
            .with(&[("scope", Matcher::Absent)], None)
            .with(&[("tenant", equal("c"))], None)
            .with(&[], None);
        assert_eq!(row.found(&[("tenant", "a"), ("scope", "x")]), Some(0));
        assert_eq!(row.found(&[("tenant", "a"), ("scope", "y")]), Some(2));
        assert_eq!(row.found(&[("tenant", "b")]), Some(1));
        assert_eq!(row.found(&[("tenant", "c")]), Some(2));
        assert_eq!(row.found(&[("tenant", "d")]), Some(3));
        assert_eq!(row.found(&[("scope", "x")]), Some(5));
    }

    #[test]
    fn a_negated_condition_is_not_indexed_by_the_values_that_it_excludes() {
        let not = |matcher| Matcher::Not(Box::new(matcher));
        let row = Row::new()
            .with(&[("tenant", not(equal("a"))), ("scope", equal("x"))], None)
            .with(&[("tenant", equal("a"))], None)
            .with(&[("tenant", equal("b"))], None)
            .with(
                &[("tenant", not(Matcher::OneOf(["a", "b"].map(Box::from).into_iter().collect())))],
                None,
            );
        assert_eq!(row.found(&[("tenant", "a"), ("scope", "x")]), Some(1));
        assert_eq!(row.found(&[("tenant", "b"), ("scope", "x")]), Some(0));
        assert_eq!(row.found(&[("tenant", "b")]), Some(2));
        assert_eq!(row.found(&[("tenant", "c")]), Some(3));
        assert_eq!(row.found(&[("scope", "x")]), None);
    }

    #[test]
    fn an_override_that_has_ended_makes_way_for_the_next() {
        let row = Row::new()
            .with(&[("tenant", equal("a"))], Some(NOW))
            .with(&[("tenant", equal("a"))], None);
        assert_eq!(row.found(&[("tenant", "a")]), Some(1));
        assert_eq!(row.found(&[("tenant", "b")]), None);
    }

    #[test]
    fn overrides_are_indexed_by_the_entry_with_the_most_values() {
        let mut row = Row::new();
        for tenant in ["a", "b", "c", "d"] {
            row = row.with(&[("scope", equal("x")), ("tenant", equal(tenant))], None);
        }
        assert_eq!(row.overrides.indexed_key, Some(row.keys.intern("tenant")));
        assert!(row.overrides.others.is_empty());
        assert_eq!(row.found(&[("tenant", "d"), ("scope", "x")]), Some(3));
        assert_eq!(row.found(&[("tenant", "d"), ("scope", "y")]), None);
    }

    #[test]
    fn a_row_without_overrides_has_none() {
        assert_eq!(Row::new().found(&[("tenant", "a")]), None);
    }
}
