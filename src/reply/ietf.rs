//! The headers `ratelimit-policy` and `ratelimit` of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! Each bucket is a quota policy of the draft, with a name of its own: table and row, and if the row has several buckets
//! the kind of this one. `ratelimit-policy` lists those of all enforced buckets that the call matches, so that it stays
//! the same from call to call; `ratelimit` has the state of the tightest.

use std::borrow::Cow;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::retry_after;
use crate::clock::Nanos;
use crate::decision::{Decided, Verdict};
use crate::limit::{Bucket, TokenBucket};
use crate::policy::identity;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::policy::{HeaderStyle, MatchedBucket, Policy};
use crate::store::{Outcome, Wait};

/// The most quota policies of one reply, besides that of the tightest bucket: a header that is too long would make Envoy
/// refuse the response.
const MAX_POLICIES: usize = 16;

/// The quota policies of a policy's buckets, encoded when it is loaded, by the number of their rule.
#[derive(Debug, Default)]
pub(super) struct QuotaPolicies(Box<[QuotaPolicy]>);

/// A quota policy, as in `"tenant/free";q=120;w=60`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct QuotaPolicy {
    item: Box<str>,
    /// The length of its name at the beginning, with the quotes.
    name: usize,
}

impl QuotaPolicies {
    /// Those of a policy; none if it has other headers.
    pub(super) fn of(policy: &Policy) -> Self {
        if policy.headers() != HeaderStyle::Ietf {
            return Self::default();
        }
        let mut rows: Vec<_> = policy.rows().collect();
        rows.sort_unstable_by_key(|row| row.id());
        let mut names = Names::default();
        let mut numbered: Vec<_> =
            rows.into_iter().flat_map(|row| of_row(row, &mut names)).collect();
        numbered.sort_unstable_by_key(|(rule, _)| rule.id());
        Self(numbered.into_iter().map(|(_, quota)| quota).collect())
    }

    /// The values of `ratelimit-policy` and `ratelimit` for a call whose tightest enforced bucket is `tightest`.
    pub(super) fn headers(&self, verdict: &Verdict<'_>, tightest: &Decided<'_>) -> [String; 2] {
        let mut all: SmallVec<[Cow<'_, QuotaPolicy>; 4]> = SmallVec::new();
        for decided in verdict.decided.iter().filter(|of| !of.matched.row.is_shadow()) {
            let is_kept = all.len() < MAX_POLICIES || std::ptr::eq(decided, tightest);
            let policy = self.of_bucket(decided.matched);
            // Several descriptors may match the buckets of one row.
            if is_kept && !all.contains(&policy) {
                all.push(policy);
            }
        }
        let policies: SmallVec<[&str; 4]> = all.iter().map(|policy| &*policy.item).collect();
        let policy = self.of_bucket(tightest.matched);
        let (name, remaining) = (policy.name(), tightest.outcome.remaining);
        let limit = match effective_window(tightest) {
            Some(window) => format!("{name};r={remaining};t={window}"),
            None => format!("{name};r={remaining}"),
        };
        [policies.join(", "), limit]
    }

    fn of_bucket(&self, matched: &MatchedBucket<'_>) -> Cow<'_, QuotaPolicy> {
        match matched.rule.and_then(|rule| self.0.get(rule.id().get())) {
            Some(policy) => Cow::Borrowed(policy),
            // A limit override: a call may have several, each named by its limit.
            None => {
                let name = format!("{} {}", matched.row.label(), matched.bucket);
                Cow::Owned(QuotaPolicy::new(&name, matched.bucket))
            }
        }
    }
}

/// The quota policies of a row and of its overrides, which have names of their own.
fn of_row<'a>(row: &'a Row, names: &mut Names) -> Vec<(&'a Rule, QuotaPolicy)> {
    let overrides =
        row.overrides().iter().zip(1..).map(|(of, number)| {
            (of.rules(), Cow::Owned(format!("{} override {number}", row.label())))
        });
    let mut found = Vec::new();
    for (rules, label) in [(row.rules(), Cow::Borrowed(row.label()))].into_iter().chain(overrides) {
        for rule in rules {
            let name = match rules {
                [_] => label.to_string(),
                _ => format!("{label} {}", identity::kind(rule.bucket())),
            };
            found.push((rule, QuotaPolicy::new(&names.distinct(name), rule.bucket())));
        }
    }
    found
}

/// The names that are taken, with the last number that was added to each.
#[derive(Debug, Default)]
struct Names(HashMap<String, usize>);

impl Names {
    /// The name, with a number if it is taken: by a bucket of the same kind, or by chance, since names may have any
    /// characters.
    fn distinct(&mut self, name: String) -> String {
        let Some(last) = self.0.get(&name).copied() else {
            self.0.insert(name.clone(), 1);
            return name;
        };
        let mut number = last + 1;
        let mut numbered = format!("{name} {number}");
        while self.0.contains_key(&numbered) {
            number += 1;
            numbered = format!("{name} {number}");
        }
        self.0.insert(name, number);
        self.0.insert(numbered.clone(), 1);
        numbered
    }
}

impl QuotaPolicy {
    /// An item of `ratelimit-policy`: the quota `q` is the size of the bucket, the window `w` the seconds that it takes to
    /// fill. Slots and blocks have no window.
    fn new(name: &str, bucket: &Bucket) -> Self {
        let name = quoted(name);
        let quota = bucket.size();
        let item = match bucket {
            Bucket::Tokens(bucket) => {
                format!("{name};q={quota};w={}", bucket.fill_time().as_secs_ceil())
            }
            Bucket::Window(window) => format!("{name};q={quota};w={}", window.unit().seconds()),
            Bucket::Concurrency(_) => format!("{name};q={quota};qu=\"concurrent-requests\""),
            Bucket::Blocked(_) => format!("{name};q={quota}"),
        };
        Self { item: item.into(), name: name.len() }
    }

    fn name(&self) -> &str {
        self.item.get(..self.name).unwrap_or_default()
    }
}

/// A string of structured fields (RFC 9651, section 3.3.3). Names are printable ASCII, since `config` accepts no others.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// The effective window `t` (section 4.1.2): the seconds in which no more can be used than what remains, rounded up. On a
/// denial it ends with `retry-after`, which must not be earlier (section 6). Otherwise it ends when a bucket gains its
/// next token. None for slots, which may be released at any time, and for a block without end.
fn effective_window(tightest: &Decided<'_>) -> Option<u64> {
    if !matches!(tightest.outcome.wait, Wait::NONE | Wait::NEVER) {
        return retry_after(tightest);
    }
    match tightest.matched.bucket {
        Bucket::Tokens(bucket) => {
            // At least 1: a bucket that is divided among replicas gains its tokens later than this one says.
            Some(next_token(bucket, &tightest.outcome).as_secs_ceil().max(1))
        }
        Bucket::Window(_) => Some(tightest.outcome.reset.as_secs_ceil().max(1)),
        Bucket::Concurrency(_) | Bucket::Blocked(_) => None,
    }
}

/// The time until a bucket has one token more than it has; a full one, once a token is taken.
fn next_token(bucket: &TokenBucket, outcome: &Outcome) -> Nanos {
    let missing = bucket.size().get().saturating_sub(outcome.remaining);
    match missing.checked_sub(1) {
        Some(later) => outcome.reset.minus(bucket.interval().times(later.into())),
        None => bucket.interval(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Concurrency, Period, Rate, Unit};

    fn tokens(size: u32, tokens: u32, unit: Unit) -> TokenBucket {
        TokenBucket::new(size, Rate::new(tokens, Period::one(unit)).unwrap()).unwrap()
    }

    #[test]
    fn the_next_token_comes_an_interval_after_the_one_before() {
        let bucket = tokens(5, 5, Unit::Day);
        let next = |remaining, reset| {
            let reset = Nanos::from_secs(reset);
            let outcome = Outcome { wait: Wait::NONE, remaining, uncharged: 0, before: 0, reset };
            next_token(&bucket, &outcome).as_secs_ceil()
        };
        // A token takes 17280 s.
        assert_eq!(next(5, 0), 17_280, "full");
        assert_eq!(next(4, 17_280), 17_280);
        assert_eq!(next(4, 1), 1);
        assert_eq!(next(2, 2 * 17_280 + 100), 100);
        assert_eq!(next(0, 86_400), 17_280);
        assert_eq!(next(0, 86_400 + 50), 17_330, "a debt from when it was larger");
    }

    #[test]
    fn a_quota_policy_is_an_item_of_a_structured_field() {
        let item = |name: &str, bucket| QuotaPolicy::new(name, &bucket).item.into_string();
        assert_eq!(
            item("t/all", Bucket::Tokens(tokens(20, 10, Unit::Second))),
            "\"t/all\";q=20;w=2"
        );
        assert_eq!(item("t/all", Bucket::Tokens(tokens(1, 3, Unit::Second))), "\"t/all\";q=1;w=1");
        let slots = Concurrency::new(2, Nanos::from_secs(60)).unwrap();
        let slots = item("jobs/all", Bucket::Concurrency(slots));
        assert_eq!(slots, "\"jobs/all\";q=2;qu=\"concurrent-requests\"");
        let blocked = Bucket::Blocked(crate::limit::Blocked { until: None });
        assert_eq!(item(r#"a"b\c"#, blocked), r#""a\"b\\c";q=0"#);
        assert_eq!(QuotaPolicy::new(r#"a";b"#, &blocked).name(), r#""a\";b""#);
    }

    #[test]
    fn no_two_names_are_the_same() {
        let mut names = Names::default();
        let mut distinct = |name: &str| names.distinct(name.to_owned());
        assert_eq!(["a", "a", "a", "b"].map(&mut distinct), ["a", "a 2", "a 3", "b"]);
        assert_eq!(["c 2", "c", "c", "c"].map(&mut distinct), ["c 2", "c", "c 3", "c 4"]);
    }
}
