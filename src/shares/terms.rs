//! What the policy has for a bucket id.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::BucketId;
use crate::clock::Timestamp;
use crate::limit::{Bucket, Debt, LimitChanges, TokenBucket};
use crate::policy::fingerprint::Fingerprint;
use crate::policy::overrides::Override;
use crate::policy::rule::Rule;
use crate::policy::table;
use crate::policy::{MatchedBucket, Policy};

/// A row of a policy, by names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Row {
    /// The policy's domain.
    pub domain: Arc<str>,
    /// The table.
    pub table: Box<str>,
    /// The row's own name.
    pub row: Box<str>,
}

impl Row {
    /// The row with these names.
    pub fn new(domain: &str, table: &str, row: &str) -> Self {
        Self { domain: domain.into(), table: table.into(), row: row.into() }
    }
}

/// The rows of a policy of which a bucket can be divided, in shadow or not.
pub fn divided_rows(policy: &Policy) -> impl Iterator<Item = Row> {
    let has_tokens = |row: &&table::Row| {
        let of_overrides = row.overrides().iter().flat_map(Override::rules);
        let mut rules = row.rules().iter().chain(of_overrides);
        rules.any(|rule| matches!(rule.bucket(), Bucket::Tokens(_)))
    };
    let rows = policy.tables().iter().flat_map(|table| table.rows().iter()).filter(has_tokens);
    rows.map(|row| Row::new(policy.domain(), row.table(), row.name()))
}

/// Why a bucket id is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyFree {
    /// Its domain has no policy.
    NoPolicy,
    /// Its policy is a descriptor tree, whose descriptors have an order that a bucket id lacks.
    Tree,
    /// A bypass applies.
    Bypassed,
    /// No table has a row for it, or its entries are no descriptor.
    Unmatched,
    /// Its rows have no limit that can be divided.
    Unlimited,
}

/// What a row has that no assignment can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inexpressible {
    /// A limit of the requests that run at a time.
    Concurrency,
    /// Charges of other hits than 1, for which `charge: always` is: each request of an Envoy is one hit.
    Hits,
    /// A message of its own, where it denies: Envoy sends what its own configuration says.
    Message,
}

impl Inexpressible {
    const ALL: [Self; 3] = [Self::Concurrency, Self::Hits, Self::Message];

    /// Whether a row has it, with a bucket of its own or of an override.
    fn is_of(self, row: &table::Row, bucket: &Bucket, debt: Option<Debt>) -> bool {
        let is_concurrency = matches!(bucket, Bucket::Concurrency(_));
        match self {
            Self::Concurrency => is_concurrency,
            Self::Hits => debt.is_some() && matches!(bucket, Bucket::Tokens(_)),
            Self::Message => row.message().is_own() && !row.is_shadow() && !is_concurrency,
        }
    }
}

impl fmt::Display for Inexpressible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Concurrency => {
                "a limit of requests at a time cannot be divided between Envoys, whose quotas go without it"
            }
            Self::Hits => {
                "charge: always is for hits that are known afterwards, and each request of a quota is one hit"
            }
            Self::Message => {
                "no client of a quota reads the message: Envoy denies with its own deny_response_settings"
            }
        })
    }
}

/// Rows of a table that have the same that no assignment can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InexpressibleRows<'p> {
    /// The table.
    pub table: &'p str,
    /// The rows' own names, at least one, in the order of the policy.
    pub rows: Vec<&'p str>,
    /// What they have.
    pub what: Inexpressible,
}

/// What the rows of a policy have that no assignment can say, in the order of the policy.
pub fn inexpressible(policy: &Policy) -> Vec<InexpressibleRows<'_>> {
    let has = |row: &table::Row, what: Inexpressible| {
        let of_overrides = row.overrides().iter().flat_map(Override::rules);
        let mut rules = row.rules().iter().chain(of_overrides);
        rules.any(|rule| what.is_of(row, rule.bucket(), row.debt()))
    };
    let mut found = Vec::new();
    for table in policy.tables() {
        for what in Inexpressible::ALL {
            let rows = table.rows().iter().filter(|row| has(row, what));
            let rows: Vec<_> = rows.map(table::Row::name).collect();
            if !rows.is_empty() {
                found.push(InexpressibleRows { table: table.name(), rows, what });
            }
        }
    }
    found
}

/// A token bucket that a bucket id meets.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) fingerprint: Fingerprint,
    pub(super) limit: TokenBucket,
    pub(super) changes: Option<Arc<LimitChanges>>,
    pub(super) is_shadow: bool,
    /// The place of its row in [`Terms::rows`].
    pub(super) row: usize,
}

/// What a bucket id meets.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    pub(super) met: SmallVec<[Met; 2]>,
    /// The rows that it matches, of which buckets were met.
    pub(super) rows: SmallVec<[Arc<Row>; 2]>,
    pub(super) is_blocked: bool,
    /// Why nothing limits it, if nothing does.
    pub(super) why_free: Option<WhyFree>,
    /// What its rows have that no assignment can say, each once.
    pub(super) inexpressible: SmallVec<[(Arc<Row>, Inexpressible); 1]>,
    /// When they were found, by the wall clock.
    found_at: Timestamp,
    /// Until when the policy has the same for it; `None` for as long as that is in force.
    until: Option<Timestamp>,
}

impl Terms {
    /// Finds what a bucket id of a domain meets at `now`, by the wall clock.
    pub(super) fn find(
        domain: &Arc<str>,
        id: &BucketId,
        policy: Option<&Policy>,
        now: Timestamp,
    ) -> Self {
        let until = policy.and_then(|policy| policy.next_end(now));
        Self { found_at: now, until, ..Self::meet(domain, id, policy, now) }
    }

    /// Whether the same policy still has the same for it at `now`, by the wall clock, which may have been set back.
    pub(super) fn hold_at(&self, now: Timestamp) -> bool {
        self.found_at <= now && self.until.is_none_or(|until| now < until)
    }

    fn meet(domain: &Arc<str>, id: &BucketId, policy: Option<&Policy>, now: Timestamp) -> Self {
        let Some(policy) = policy else { return Self::free(WhyFree::NoPolicy) };
        if policy.is_tree() {
            return Self::free(WhyFree::Tree);
        }
        let query = id.query(domain).filter(|query| policy.check(query).is_ok());
        let Some(query) = query else { return Self::free(WhyFree::Unmatched) };
        let plan = policy.resolve(&query, now);
        if plan.is_bypassed {
            return Self::free(WhyFree::Bypassed);
        }
        let mut terms = Self::default();
        for matched in &plan.matched {
            terms.add(domain, matched);
        }
        if !terms.is_blocked && terms.enforced().next().is_none() {
            let is_matched = plan.is_matched || !plan.matched.is_empty();
            terms.why_free = Some(if is_matched { WhyFree::Unlimited } else { WhyFree::Unmatched });
        }
        terms
    }

    fn free(why: WhyFree) -> Self {
        Self { why_free: Some(why), ..Self::default() }
    }

    fn add(&mut self, domain: &Arc<str>, matched: &MatchedBucket<'_>) {
        for what in Inexpressible::ALL {
            if what.is_of(matched.row, matched.bucket, matched.debt) {
                let found = (self.row(domain, matched.row), what);
                if !self.inexpressible.contains(&found) {
                    self.inexpressible.push(found);
                }
            }
        }
        match matched.bucket {
            Bucket::Tokens(limit) => {
                let row = self.row(domain, matched.row);
                let known = self.rows.iter().position(|known| *known == row);
                let row = known.unwrap_or_else(|| {
                    self.rows.push(row);
                    self.rows.len() - 1
                });
                self.met.push(Met {
                    fingerprint: matched.fingerprint,
                    limit: *limit,
                    changes: matched.rule.and_then(Rule::shared_changes),
                    is_shadow: matched.row.is_shadow(),
                    row,
                });
            }
            Bucket::Blocked(_) => self.is_blocked |= !matched.row.is_shadow(),
            // Only trees have windows.
            Bucket::Concurrency(_) | Bucket::Window(_) => {}
        }
    }

    /// A row by names, which are kept once.
    fn row(&self, domain: &Arc<str>, of: &table::Row) -> Arc<Row> {
        let mut known = self.rows.iter().chain(self.inexpressible.iter().map(|(row, _)| row));
        let known = known.find(|row| *row.table == *of.table() && *row.row == *of.name());
        known.map_or_else(
            || {
                Arc::new(Row {
                    domain: Arc::clone(domain),
                    table: of.table().into(),
                    row: of.name().into(),
                })
            },
            Arc::clone,
        )
    }

    /// The buckets that limit it.
    pub(super) fn enforced(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| !met.is_shadow)
    }
}
