//! Metrics of the requests and rows of each policy.

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::owners::{Owner, Owners};
use crate::decision::{Decided, Verdict};
use crate::policy::Policy;
use crate::policy::table::{Row, RowId};

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum Code {
    ok,
    over_limit,
    bypassed,
    /// No table of the policy had a row for it.
    unmatched,
}

/// The decision of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum Outcome {
    admitted,
    over_limit,
    shadow_over_limit,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    domain: String,
    code: Code,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DomainLabels {
    domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    domain: String,
    table: String,
    row: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    domain: String,
    table: String,
    row: String,
}

const CODES: [Code; 4] = [Code::ok, Code::over_limit, Code::bypassed, Code::unmatched];
const OUTCOMES: [Outcome; 3] = [Outcome::admitted, Outcome::over_limit, Outcome::shadow_over_limit];

/// The series of the policies in force, and of some earlier ones.
#[derive(Debug, Default)]
pub(super) struct Rows {
    owners: Mutex<Owners>,
    requests: Family<RequestLabels, Counter>,
    repeated_entries: Family<DomainLabels, Counter>,
    decisions: Family<DecisionLabels, Counter>,
    hits: Family<DecisionLabels, Counter>,
    uncharged_tokens: Family<RowLabels, Counter>,
}

impl Rows {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let rows = Self::default();
        registry.register("requests", "Requests by domain and answer", rows.requests.clone());
        let help = "Entries that are not read, since others with the same key come before them";
        registry.register("repeated_entries", help, rows.repeated_entries.clone());
        let help = "Decisions of each row about the descriptors that match it";
        registry.register("decisions", help, rows.decisions.clone());
        let help = "Hits of the descriptors that match each row, by its decision";
        registry.register("hits", help, rows.hits.clone());
        let help =
            "Tokens that were used and not charged, since the bucket owed the most that it may";
        registry.register("uncharged_tokens", help, rows.uncharged_tokens.clone());
        rows
    }

    /// The handles of policies that replace the previous ones. The handle of a series that is removed still counts,
    /// but is no longer encoded.
    pub(super) fn of(&self, policies: &[Policy]) -> Vec<PolicyCounters> {
        let mut owners = self.owners.lock();
        owners.begin();
        let counters = policies.iter().map(|policy| self.of_one(policy, &mut owners)).collect();
        owners.retire().into_iter().for_each(|owner| self.remove(owner));
        counters
    }

    fn remove(&self, Owner { domain, row }: Owner) {
        let Some((table, row)) = row else {
            for code in CODES {
                self.requests.remove(&RequestLabels { domain: domain.clone(), code });
            }
            self.repeated_entries.remove(&DomainLabels { domain });
            return;
        };
        let labels = RowLabels { domain: domain.clone(), table: table.clone(), row: row.clone() };
        self.uncharged_tokens.remove(&labels);
        for outcome in OUTCOMES {
            let (domain, table, row) = (domain.clone(), table.clone(), row.clone());
            let labels = DecisionLabels { domain, table, row, outcome };
            self.decisions.remove(&labels);
            self.hits.remove(&labels);
        }
    }

    fn of_one(&self, policy: &Policy, owners: &mut Owners) -> PolicyCounters {
        let domain = policy.domain();
        let request = |code| {
            let labels = RequestLabels { domain: domain.to_owned(), code };
            self.requests.get_or_create_owned(&labels)
        };
        owners.record(Owner { domain: domain.to_owned(), row: None });
        let mut rows: Vec<_> = policy.rows().collect();
        rows.sort_unstable_by_key(|row| row.id());
        for row in &rows {
            let names = (row.table().to_owned(), row.name().to_owned());
            owners.record(Owner { domain: domain.to_owned(), row: Some(names) });
        }
        // Limits that Envoy brings may replace any of them.
        let is_any_always = rows.iter().any(|row| row.debt().is_some());
        let rows = rows.into_iter().map(|row| {
            let is_always =
                row.debt().is_some() || is_any_always && policy.is_limit_override(row.table());
            let is_shadow = row.is_shadow();
            let over = if is_shadow { Outcome::shadow_over_limit } else { Outcome::over_limit };
            RowCounters {
                admitted: self.outcome(domain, row, Outcome::admitted),
                over: self.outcome(domain, row, over),
                uncharged_tokens: is_always.then(|| self.uncharged_tokens(domain, row)),
            }
        });
        let of_domain = DomainLabels { domain: domain.to_owned() };
        PolicyCounters {
            rows: rows.collect(),
            is_any_always_charged: is_any_always,
            repeated_entries: self.repeated_entries.get_or_create_owned(&of_domain),
            ok: request(Code::ok),
            over_limit: request(Code::over_limit),
            bypassed: request(Code::bypassed),
            unmatched: request(Code::unmatched),
        }
    }

    fn uncharged_tokens(&self, domain: &str, row: &Row) -> Counter {
        let labels = RowLabels {
            domain: domain.to_owned(),
            table: row.table().to_owned(),
            row: row.name().to_owned(),
        };
        self.uncharged_tokens.get_or_create_owned(&labels)
    }

    fn outcome(&self, domain: &str, row: &Row, outcome: Outcome) -> OutcomeCounters {
        let labels = DecisionLabels {
            domain: domain.to_owned(),
            table: row.table().to_owned(),
            row: row.name().to_owned(),
            outcome,
        };
        OutcomeCounters {
            decisions: self.decisions.get_or_create_owned(&labels),
            hits: self.hits.get_or_create_owned(&labels),
        }
    }
}

/// The counters of one outcome of one row.
#[derive(Debug)]
struct OutcomeCounters {
    decisions: Counter,
    hits: Counter,
}

impl OutcomeCounters {
    fn count(&self, hits: u64) {
        self.decisions.inc();
        self.hits.inc_by(hits);
    }
}

#[derive(Debug)]
struct RowCounters {
    admitted: OutcomeCounters,
    over: OutcomeCounters,
    /// Of a row that is always charged, or whose limits may replace one.
    uncharged_tokens: Option<Counter>,
}

/// The handles of one policy.
#[derive(Debug)]
pub struct PolicyCounters {
    rows: Box<[RowCounters]>,
    is_any_always_charged: bool,
    repeated_entries: Counter,
    ok: Counter,
    over_limit: Counter,
    bypassed: Counter,
    unmatched: Counter,
}

/// The request counters of a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests that matched a row and were admitted, and requests that only released a lease.
    pub ok: u64,
    /// Requests that were denied.
    pub over_limit: u64,
    /// Requests admitted by a bypass.
    pub bypassed: u64,
    /// Requests for which no table had a row.
    pub unmatched: u64,
}

/// The decision counters of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Descriptors that the row admitted.
    pub admitted: u64,
    /// Descriptors that the row denied, or would have denied if it were not in shadow.
    pub over: u64,
}

impl PolicyCounters {
    /// The request counters.
    pub fn requests(&self) -> RequestCounts {
        RequestCounts {
            ok: self.ok.get(),
            over_limit: self.over_limit.get(),
            bypassed: self.bypassed.get(),
            unmatched: self.unmatched.get(),
        }
    }

    /// The decision counters of a row; zero if the policy has no such row.
    pub fn row(&self, row: RowId) -> RowCounts {
        let counters = self.rows.get(row.get());
        counters.map_or_else(RowCounts::default, |RowCounters { admitted, over, .. }| RowCounts {
            admitted: admitted.decisions.get(),
            over: over.decisions.get(),
        })
    }

    /// Counts entries that are not read, since others with the same key come before them.
    pub fn count_repeated_entries(&self, count: usize) {
        self.repeated_entries.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts a verdict: the request once, and each row once for each descriptor that matched it. On a denial only the
    /// rows that denied count, since nothing was charged in the others, and those that are always charged. Returns
    /// whether any bucket was over its limit, those in shadow included.
    pub fn count(&self, verdict: &Verdict<'_>) -> bool {
        let code = match verdict {
            _ if !verdict.is_admitted => &self.over_limit,
            _ if verdict.is_bypassed => &self.bypassed,
            _ if !verdict.is_matched
                && verdict.released.is_none()
                && verdict.decided.is_empty() =>
            {
                &self.unmatched
            }
            _ => &self.ok,
        };
        code.inc();
        let mut is_any_over = false;
        for decided in verdict.rows() {
            let Some(first) = decided.first() else { continue };
            let Some(counters) = self.rows.get(first.matched.row.id().get()) else { continue };
            // A descriptor charges the same hits to all buckets of a row.
            let hits = first.matched.hits.charged();
            if decided.iter().any(Decided::is_over) {
                is_any_over = true;
                counters.over.count(hits);
            } else if verdict.is_admitted || first.matched.is_always_charged() {
                counters.admitted.count(hits);
            }
        }
        if self.is_any_always_charged {
            self.count_uncharged(verdict);
        }
        is_any_over
    }

    fn count_uncharged(&self, verdict: &Verdict<'_>) {
        for Decided { matched, outcome, .. } in
            verdict.decided.iter().filter(|of| of.outcome.uncharged > 0)
        {
            let counters = self.rows.get(matched.row.id().get());
            if let Some(counter) = counters.and_then(|row| row.uncharged_tokens.as_ref()) {
                counter.inc_by(outcome.uncharged.into());
            }
        }
    }
}
