//! Reads the logs a second time, and decides their requests by the limits that are tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::charges::charges;
use super::super::merge::Merge;
use super::super::reading::Reading;
use super::super::run::whole_second;
use super::super::source::Source;
use super::super::{Progress, ReplayError};
use super::candidates::{Candidates, Held};
use crate::clock::Timestamp;
use crate::descriptor::Query;
use crate::policy::{Plan, Policy};

/// The logs, as they were read the first time.
pub(in crate::replay) struct Logs<'p> {
    pub(in crate::replay) policy: &'p Policy,
    pub(in crate::replay) reading: Reading,
    pub(in crate::replay) sources: Vec<Source>,
    /// The requests in them.
    pub(in crate::replay) requests: u64,
    /// How many keys there may be.
    pub(in crate::replay) max_keys: usize,
}

/// The candidates, and the requests that hold slots of theirs.
struct CandidateTrial<'c, 'p> {
    /// Each with the number of its rule.
    candidates: &'c mut [(usize, Candidates<'p>)],
    /// The places in `candidates`, by the number of the rule.
    of_rule: Vec<Vec<usize>>,
    /// By when they end, then by when they began.
    running: BTreeMap<(Timestamp, u64), (usize, Held)>,
    begun: u64,
}

impl Logs<'_> {
    /// Whether they can be read twice.
    ///
    /// # Errors
    /// The first that can not.
    pub(in crate::replay) fn are_kept(sources: &[Source]) -> Result<(), ReplayError> {
        let is_kept = |source: &Source| match source {
            Source::File(path) => path.is_file(),
            Source::Stdin => false,
        };
        match sources.iter().find(|source| !is_kept(source)) {
            None => Ok(()),
            Some(source) => Err(ReplayError::ReadOnce(source.name())),
        }
    }

    /// Decides all requests, one by one: those whose time is told in whole seconds at the beginning of their second. Returns
    /// whether the logs have other requests than they had.
    ///
    /// # Errors
    /// As of the first pass.
    pub(super) fn decide(
        self,
        candidates: &mut [(usize, Candidates<'_>)],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool, ReplayError> {
        if candidates.iter().all(|(_, of)| of.are_known()) {
            return Ok(false);
        }
        let read = Arc::<AtomicU64>::default();
        let of = self.sources.iter().map(Source::size).sum::<Option<u64>>();
        let mapping = Arc::clone(&self.reading.mapping);
        let mut merge = Merge::new(self.sources, self.reading, Arc::clone(&read))?;
        let mut trial = CandidateTrial::new(candidates);
        let mut requests = 0;
        while let Some(ordered) = merge.next()? {
            let mut query = Query::default();
            for (batch, number, event) in ordered.iter() {
                batch.requests.query(number, &mapping, self.policy.domain(), &mut query)?;
                let now =
                    if event.is_whole_second { whole_second(event.start) } else { event.start };
                let mut plan = Plan::default();
                self.policy.resolve_into(&query, now, &mut plan);
                trial.decide(&plan, now, now.after(event.duration))?;
            }
            requests += u64::try_from(ordered.len()).unwrap_or(0);
            progress(Progress { requests, read: read.load(Ordering::Relaxed), of });
        }
        Ok(merge.counts().requests != self.requests)
    }
}

impl<'c, 'p> CandidateTrial<'c, 'p> {
    fn new(candidates: &'c mut [(usize, Candidates<'p>)]) -> Self {
        let rules = candidates.iter().map(|(rule, _)| rule + 1).max().unwrap_or(0);
        let mut of_rule = vec![Vec::new(); rules];
        for (at, (rule, of)) in candidates.iter().enumerate() {
            if let Some(places) = of_rule.get_mut(*rule).filter(|_| !of.are_known()) {
                places.push(at);
            }
        }
        Self { candidates, of_rule, running: BTreeMap::new(), begun: 0 }
    }

    fn decide(
        &mut self,
        plan: &Plan<'_>,
        now: Timestamp,
        end: Timestamp,
    ) -> Result<(), ReplayError> {
        self.end_until(now);
        for (matched, hits) in charges(plan.matched.iter()) {
            let rule = matched.rule.map(|rule| rule.id().get());
            let Some(places) = rule.and_then(|rule| self.of_rule.get(rule)) else { continue };
            for place in places {
                let Some((_, candidates)) = self.candidates.get_mut(*place) else { continue };
                candidates.decide(matched.fingerprint, hits, now, |held| {
                    self.begun += 1;
                    self.running.insert((end, self.begun), (*place, held));
                })?;
            }
        }
        Ok(())
    }

    /// Frees the slots of the requests that have ended by `now`.
    fn end_until(&mut self, now: Timestamp) {
        while let Some(first) = self.running.first_entry().filter(|of| of.key().0 <= now) {
            let ((end, _), (place, held)) = first.remove_entry();
            if let Some((_, candidates)) = self.candidates.get(place) {
                candidates.release(held, end);
            }
        }
    }
}
