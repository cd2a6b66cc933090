//! Counts what a policy does to requests.

use super::batch::{Event, PARTS};
use super::charges::{Charge, hits_of};
use super::demand::{Asked, Demands};
use super::denied_keys::DeniedKeys;
use super::series::Series;
use super::suggest::Needs;
use crate::clock::Timestamp;
use crate::decision::{Decided, Verdict};
use crate::descriptor::{Descriptor, Entry, Hits, Query};
use crate::observe::bucket_label::BucketLabel;
use crate::policy::Policy;
use crate::policy::fingerprint::Fingerprint;
use crate::policy::rule::Rule;
use crate::policy::table::Row;
use crate::text::sanitize;

/// What happened to the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) requests: u64,
    /// Those that were denied.
    pub(super) denied: u64,
    /// Those that a bypass let pass.
    pub(super) bypassed: u64,
    /// Those that no table has a row for.
    pub(super) unmatched: u64,
    /// Those that were denied when the log was written.
    pub(super) denied_in_log: u64,
    /// Those that were denied then and now.
    pub(super) denied_in_both: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.denied += other.denied;
        self.bypassed += other.bypassed;
        self.unmatched += other.unmatched;
        self.denied_in_log += other.denied_in_log;
        self.denied_in_both += other.denied_in_both;
    }
}

/// What a row decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) requests: u64,
    /// Those that one of its buckets denied, or in shadow would have denied.
    pub(super) denied: u64,
}

/// What a rule decided.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RuleFigures {
    pub(super) requests: u64,
    pub(super) denied: u64,
}

/// What a policy did to requests, in order of time.
#[derive(Debug)]
pub(super) struct Figures<'p> {
    policy: &'p Policy,
    pub(super) counts: Counts,
    /// By the number of the row.
    pub(super) rows: Vec<RowCounts>,
    /// By the number of the rule.
    pub(super) rules: Vec<RuleFigures>,
    pub(super) demands: Demands,
    pub(super) series: Series,
    /// By the part of the requests, so that what is forgotten does not depend on how many threads decide.
    pub(super) denied_keys: Vec<DeniedKeys>,
    /// The first request that no table has a row for.
    pub(super) unmatched: Option<(Timestamp, String)>,
    /// What keys need at other rates, if limits are to be suggested.
    pub(super) needs: Option<Needs<'p>>,
}

impl<'p> Figures<'p> {
    pub(super) fn new(policy: &'p Policy) -> Self {
        let rows = policy.rows().map(|row| row.id().get()).max().map_or(0, |last| last + 1);
        let rules = all_rules(policy).map(|(_, rule)| rule.id().get()).max();
        Self {
            policy,
            counts: Counts::default(),
            rows: vec![RowCounts::default(); rows],
            rules: vec![RuleFigures::default(); rules.map_or(0, |last| last + 1)],
            demands: Demands::default(),
            series: Series::default(),
            denied_keys: (0..PARTS).map(|_| DeniedKeys::default()).collect(),
            unmatched: None,
            needs: None,
        }
    }

    /// Counts a request that was decided at `now`.
    pub(super) fn count(
        &mut self,
        query: &Query<'_>,
        verdict: &Verdict<'_>,
        event: &Event,
        now: Timestamp,
    ) {
        let is_denied = !verdict.is_admitted;
        let is_unmatched = !verdict.is_bypassed && !verdict.is_matched;
        if is_unmatched && self.unmatched.is_none() {
            self.unmatched = Some((now, describe(query)));
        }
        self.counts.add(Counts {
            requests: 1,
            denied: is_denied.into(),
            bypassed: verdict.is_bypassed.into(),
            unmatched: is_unmatched.into(),
            denied_in_log: event.was_denied.into(),
            denied_in_both: (event.was_denied && is_denied).into(),
        });
        self.series.count(now, is_denied);
        if let Some(needs) = &mut self.needs {
            needs.count(verdict.decided.iter().map(|of| of.matched), event.duration, now);
        }
        // Those that one descriptor matches are different.
        let descriptor = |of: Option<&Decided<'_>>| of.map(|of| of.matched.descriptor);
        let decided = &verdict.decided;
        let has_several = descriptor(decided.first()) != descriptor(decided.last());
        let mut at = 0..;
        for row in verdict.rows() {
            let Some(first) = row.first() else { continue };
            if let Some(counts) = self.rows.get_mut(first.matched.row.id().get()) {
                counts.requests += 1;
                counts.denied += u64::from(row.iter().any(is_over));
            }
            for (decided, at) in row.iter().zip(&mut at) {
                let matched = decided.matched;
                let all = || verdict.decided.iter().map(|of| of.matched);
                let hits =
                    if has_several { hits_of(at, matched, all()) } else { Some(matched.hits) };
                self.count_bucket(query, decided, hits, event.part, now);
            }
        }
    }

    fn count_bucket(
        &mut self,
        query: &Query<'_>,
        decided: &Decided<'_>,
        hits: Option<Hits>,
        part: u8,
        now: Timestamp,
    ) {
        let matched = decided.matched;
        let Some(rule) = matched.rule.map(|rule| rule.id().get()) else { return };
        let is_denied = is_over(decided);
        let Some(figures) = self.rules.get_mut(rule) else { return };
        figures.requests += 1;
        figures.denied += u64::from(is_denied);
        let name = matched.fingerprint;
        let charge = hits.map(|hits| Charge::new(hits, matched.debt));
        let asked = Asked { bucket: matched.bucket, charge, now, is_denied };
        let demand = self.demands.count(name, number(rule), &asked);
        let Some(keys) = self.denied_keys.get_mut(usize::from(part)) else { return };
        if is_denied {
            keys.deny(name, rule, now, || BucketLabel::of(self.policy, query, decided));
        } else if demand.is_denied() {
            keys.admit(name, now);
        }
    }

    /// Has the processor fetch what is known of a key, which is counted soon.
    #[inline]
    pub(super) fn prefetch(&self, name: Fingerprint) {
        self.demands.prefetch(name);
    }

    /// Gives slots of a concurrency bucket back.
    pub(super) fn end(&mut self, rule: usize, name: Fingerprint, slots: u64) {
        self.demands.end(name, number(rule), slots);
    }

    /// How many keys there are, in all rules.
    pub(super) fn keys(&self) -> usize {
        self.demands.len()
    }

    /// Adds what happened to a part of the requests, which shares no key with these.
    pub(super) fn merge(&mut self, other: Self) {
        self.counts.add(other.counts);
        for (own, counts) in self.rows.iter_mut().zip(other.rows) {
            own.requests += counts.requests;
            own.denied += counts.denied;
        }
        for (own, figures) in self.rules.iter_mut().zip(other.rules) {
            own.requests += figures.requests;
            own.denied += figures.denied;
        }
        self.demands.merge(other.demands);
        self.series.merge(other.series);
        for (own, keys) in self.denied_keys.iter_mut().zip(other.denied_keys) {
            own.merge(keys);
        }
        self.unmatched = match (self.unmatched.take(), other.unmatched) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
        if let (Some(own), Some(needs)) = (&mut self.needs, other.needs) {
            own.merge(needs);
        }
    }
}

/// The number of a rule, of which a policy has far fewer than fit into 31 bits.
fn number(rule: usize) -> u32 {
    u32::try_from(rule).unwrap_or(u32::MAX) & (u32::MAX >> 1)
}

/// Whether a bucket denied the request, or in shadow would have.
fn is_over(decided: &Decided<'_>) -> bool {
    decided.is_over() && !decided.is_excused
}

/// Every rule of a policy with its row: those of the rows, and those of their overrides.
pub(super) fn all_rules(policy: &Policy) -> impl Iterator<Item = (&Row, &Rule)> {
    policy.rows().flat_map(|row| {
        let of_overrides = row.overrides().iter().flat_map(|of| of.rules());
        row.rules().iter().chain(of_overrides).map(move |rule| (row, rule))
    })
}

/// A query on one line: its descriptors, with untrusted text escaped.
fn describe(query: &Query<'_>) -> String {
    let entry =
        |entry: &Entry<'_>| format!("{}={}", sanitize(entry.key.as_str()), sanitize(entry.value));
    let descriptor = |descriptor: Descriptor<'_>| -> String {
        descriptor.entries().iter().map(entry).collect::<Vec<_>>().join(" ")
    };
    query.descriptors().map(descriptor).collect::<Vec<_>>().join("; ")
}
