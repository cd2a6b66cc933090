//! Metrics of the quota service.

use std::sync::atomic::AtomicU64;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{register, seconds};
use crate::clock::Nanos;
use crate::policy::Policy;
use crate::shares::{self, Action, Assignment, Inexpressible, Order, Row, WhyFree};

/// What became of requests in Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum Outcome {
    allowed,
    denied,
}

const OUTCOMES: [Outcome; 2] = [Outcome::allowed, Outcome::denied];

/// Why a bucket id is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum Reason {
    no_policy,
    descriptor_tree,
    bypassed,
    unmatched,
    unlimited,
}

const REASONS: [Reason; 5] = [
    Reason::no_policy,
    Reason::descriptor_tree,
    Reason::bypassed,
    Reason::unmatched,
    Reason::unlimited,
];

/// What Envoy is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum Kind {
    token_bucket,
    allow_all,
    deny_all,
    abandon,
}

const KINDS: [Kind; 4] = [Kind::token_bucket, Kind::allow_all, Kind::deny_all, Kind::abandon];

/// What no assignment can say, by its key in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are label values")]
enum What {
    concurrent,
    charge,
    message,
}

const WHATS: [What; 3] = [What::concurrent, What::charge, What::message];

impl From<Inexpressible> for What {
    fn from(what: Inexpressible) -> Self {
        match what {
            Inexpressible::Concurrency => Self::concurrent,
            Inexpressible::Hits => Self::charge,
            Inexpressible::Message => Self::message,
        }
    }
}

/// Why a part of a report, or a stream, is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are label values")]
pub enum Ignored {
    /// A bucket id that is none.
    bucket_id,
    /// There are too many bucket ids.
    too_many,
    /// A stream whose first report has no domain.
    no_domain,
    /// There are too many streams.
    streams,
    /// A stream that does not read what it is told.
    not_read,
}

impl Ignored {
    const ALL: [Self; 5] =
        [Self::bucket_id, Self::too_many, Self::no_domain, Self::streams, Self::not_read];
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    domain: String,
    table: String,
    row: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FreeLabels {
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IgnoredLabels {
    reason: Ignored,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InexpressibleLabels {
    domain: String,
    table: String,
    row: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    domain: String,
    table: String,
    row: String,
}

/// What the quota service does.
#[derive(Debug)]
pub struct Quotas {
    /// Streams that are open.
    pub streams: Gauge,
    /// Bucket ids that have a share.
    pub shares: Gauge,
    /// Charges that the store did not make; they are made later.
    pub failures: Counter,
    /// Times that a stream was not read for a while, since it had reported more than an Envoy can.
    pub delays: Counter,
    requests: Family<RequestLabels, Counter>,
    free: Family<FreeLabels, Counter>,
    actions: Family<ActionLabels, Counter>,
    ignored: Family<IgnoredLabels, Counter>,
    inexpressible: Family<InexpressibleLabels, Counter>,
    owed: Family<RowLabels, Gauge<f64, AtomicU64>>,
    answer_duration: Histogram,
    /// The rows that have series.
    rows: Mutex<HashSet<Row>>,
    /// The domains with a policy that have had a stream.
    domains: Mutex<HashSet<Box<str>>>,
}

impl Quotas {
    pub(super) fn new(to: &mut Registry) -> Self {
        let streams = register::gauge(to, "quota_streams", "Streams of the quota service");
        let help = "Bucket ids of Envoys that have a share of their buckets";
        let shares = register::gauge(to, "quota_shares", help);
        let help = "Charges for what Envoys use that the store did not make; they are made later";
        let failures = register::counter(to, "quota_charge_failures", help);
        let help = "Times that a stream was not read for a while, since it had reported too much";
        let delays = register::counter(to, "quota_delays", help);
        // 16 us to 2 s, doubling.
        let buckets = exponential_buckets(16e-6, 2.0, 18);
        let help = "Time from a report of an Envoy to its answer";
        let answer_duration = register::duration(to, "quota_answer_duration", help, buckets);
        let quotas = Self {
            streams,
            shares,
            failures,
            delays,
            requests: Family::default(),
            free: Family::default(),
            actions: Family::default(),
            ignored: Family::default(),
            inexpressible: Family::default(),
            owed: Family::default(),
            answer_duration,
            rows: Mutex::default(),
            domains: Mutex::default(),
        };
        // The series of fixed words are there from the start.
        for reason in REASONS {
            drop(quotas.free.get_or_create(&FreeLabels { reason }));
        }
        for kind in KINDS {
            drop(quotas.actions.get_or_create(&ActionLabels { kind }));
        }
        for reason in Ignored::ALL {
            drop(quotas.ignored.get_or_create(&IgnoredLabels { reason }));
        }
        let help = "Requests that Envoys report, by the rows that they meet";
        to.register("quota_requests", help, quotas.requests.clone());
        let help = "Requests that Envoys report and nothing limits, by the reason";
        to.register("quota_unlimited_requests", help, quotas.free.clone());
        let help = "What Envoys are told for a bucket id, renewals included";
        to.register("quota_actions", help, quotas.actions.clone());
        let help = "Parts of reports and streams that are not taken, by the reason";
        to.register("quota_ignored", help, quotas.ignored.clone());
        let help = "Bucket ids that meet a row with something that no assignment can say";
        to.register("quota_inexpressible", help, quotas.inexpressible.clone());
        let help = "Tokens that the buckets of a row owe for what Envoys have used";
        to.register("quota_owed_tokens", help, quotas.owed.clone());
        quotas
    }

    /// Creates the series of a policy's rows, so that the first report is an increase: for the first stream of its domain, since
    /// there are none without streams.
    pub fn create_rows(&self, policy: &Policy) {
        if self.domains.lock().insert(policy.domain().into()) {
            self.renew(policy);
        }
    }

    /// Creates the series of rows that a policy has which comes into force, if its domain has had a stream.
    pub fn renew_rows(&self, policy: &Policy) {
        if self.domains.lock().contains(policy.domain()) {
            self.renew(policy);
        }
    }

    fn renew(&self, policy: &Policy) {
        for row in shares::divided_rows(policy) {
            self.record(&row);
            for outcome in OUTCOMES {
                drop(self.requests.get_or_create(&request_labels(&row, outcome)));
            }
        }
        for of in shares::inexpressible(policy) {
            for name in of.rows {
                let row = Row::new(policy.domain(), of.table, name);
                self.record(&row);
                drop(self.inexpressible.get_or_create(&inexpressible_labels(&row, of.what.into())));
            }
        }
    }

    /// Counts requests that an Envoy reports of a row: let through, and denied.
    pub fn count_requests(&self, row: &Row, counts: [u64; 2]) {
        self.record(row);
        for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
            self.requests.get_or_create(&request_labels(row, outcome)).inc_by(count);
        }
    }

    /// Counts requests that nothing limits.
    pub fn count_free(&self, why: WhyFree, count: u64) {
        let reason = match why {
            WhyFree::NoPolicy => Reason::no_policy,
            WhyFree::Tree => Reason::descriptor_tree,
            WhyFree::Bypassed => Reason::bypassed,
            WhyFree::Unmatched => Reason::unmatched,
            WhyFree::Unlimited => Reason::unlimited,
        };
        self.free.get_or_create(&FreeLabels { reason }).inc_by(count);
    }

    /// Counts what an Envoy is told.
    pub fn count_actions(&self, actions: &[Action]) {
        let mut counts = HashMap::new();
        for action in actions {
            let kind = match action.order {
                Order::Abandon => Kind::abandon,
                Order::Assign(Assignment::All) => Kind::allow_all,
                Order::Assign(Assignment::Nothing) => Kind::deny_all,
                Order::Assign(Assignment::Tokens { .. }) => Kind::token_bucket,
            };
            *counts.entry(kind).or_insert(0) += 1;
        }
        for (kind, count) in counts {
            self.actions.get_or_create(&ActionLabels { kind }).inc_by(count);
        }
    }

    /// Counts what is not taken.
    pub fn count_ignored(&self, reason: Ignored, count: u64) {
        if count > 0 {
            self.ignored.get_or_create(&IgnoredLabels { reason }).inc_by(count);
        }
    }

    /// Counts a bucket id that meets what no assignment can say. Returns whether it is the first time for its row.
    pub fn count_inexpressible(&self, row: &Row, what: Inexpressible) -> bool {
        self.record(row);
        self.inexpressible.get_or_create(&inexpressible_labels(row, what.into())).inc() == 0
    }

    /// Sets what the buckets of rows owe, in tokens; rows that are not named owe nothing.
    pub fn set_owed<'a>(&self, owed: impl IntoIterator<Item = (&'a Row, f64)>) {
        self.owed.clear();
        for (row, tokens) in owed {
            self.owed.get_or_create(&row_labels(row)).set(tokens);
        }
    }

    /// Records how long the answer to a report took.
    pub fn observe(&self, took: Nanos) {
        self.answer_duration.observe(seconds(took));
    }

    /// Removes the series of rows that `is_there` denies: the policies in force have them no longer.
    pub fn retain(&self, is_there: impl Fn(&Row) -> bool) {
        let mut rows = self.rows.lock();
        rows.retain(|row| {
            let stays = is_there(row);
            if !stays {
                for outcome in OUTCOMES {
                    self.requests.remove(&request_labels(row, outcome));
                }
                for what in WHATS {
                    self.inexpressible.remove(&inexpressible_labels(row, what));
                }
            }
            stays
        });
    }

    fn record(&self, row: &Row) {
        let mut rows = self.rows.lock();
        if !rows.contains(row) {
            rows.insert(row.clone());
        }
    }
}

fn request_labels(of: &Row, outcome: Outcome) -> RequestLabels {
    let RowLabels { domain, table, row } = row_labels(of);
    RequestLabels { domain, table, row, outcome }
}

fn inexpressible_labels(of: &Row, what: What) -> InexpressibleLabels {
    let RowLabels { domain, table, row } = row_labels(of);
    InexpressibleLabels { domain, table, row, what }
}

fn row_labels(row: &Row) -> RowLabels {
    RowLabels {
        domain: row.domain.to_string(),
        table: row.table.to_string(),
        row: row.row.to_string(),
    }
}
