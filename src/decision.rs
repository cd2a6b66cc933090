//! The verdict: what the store says of everything a query meets.
//!
//! Deciding is a function of (policy, state, query, now) and of nothing else.

use std::cmp::Reverse;

use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::descriptor::LeaseId;
use crate::policy::{Met, Plan};
use crate::store::{Admission, Charge, MemoryStore, Outcome, Outcomes, StoreError, Wait};

/// A bucket that was met, and how it stands.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// Which bucket, met by which descriptor.
    pub met: Met<'a>,
    /// How it stands.
    pub outcome: Outcome,
}

impl Decided<'_> {
    /// Whether the bucket could not admit the call. In a shadow row that denies nobody.
    pub fn is_over(&self) -> bool {
        self.outcome.wait != Wait::No
    }

    /// Whether the bucket denied the call.
    pub fn denies(&self) -> bool {
        self.is_over() && !self.met.row.is_shadow()
    }

    /// What makes one bucket tighter than another: enforced before shadow; denying before admitting; of
    /// those that deny the one that takes longest to admit the call, of others the one with the least
    /// left, and then the one that is full last.
    fn tightness(&self) -> impl Ord + use<> {
        let Outcome { wait, remaining, reset } = self.outcome;
        (self.met.row.is_shadow(), Reverse(wait), remaining, Reverse(reset))
    }
}

/// What became of a query.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// Whether the request may pass.
    pub is_admitted: bool,
    /// Whether a bypass let it pass.
    pub is_bypassed: bool,
    /// Every bucket it met, grouped by descriptor.
    pub decided: SmallVec<[Decided<'a>; 8]>,
    /// The lease it now holds.
    pub lease: Option<LeaseId>,
    /// How many leases it gave back, where it asked for that.
    pub released: Option<usize>,
}

impl<'a> Verdict<'a> {
    /// The verdict on a query that meets nothing.
    pub fn unlimited() -> Self {
        Self {
            is_admitted: true,
            is_bypassed: false,
            decided: SmallVec::new(),
            lease: None,
            released: None,
        }
    }

    /// The tightest bucket of one descriptor.
    pub fn tightest_of(&self, descriptor: usize) -> Option<&Decided<'a>> {
        let of_it = self.decided.iter().filter(|decided| decided.met.descriptor == descriptor);
        of_it.min_by_key(|decided| decided.tightness())
    }

    /// The tightest enforced bucket of all. On a denial, the one that denied for longest.
    pub fn tightest(&self) -> Option<&Decided<'a>> {
        let enforced = self.decided.iter().filter(|decided| !decided.met.row.is_shadow());
        enforced.min_by_key(|decided| decided.tightness())
    }

    /// The bucket that denied: of several the one that takes longest to admit the call.
    pub fn denied_by(&self) -> Option<&Decided<'a>> {
        self.tightest().filter(|decided| decided.denies())
    }
}

/// Decides all that a query meets: releases leases first, then charges everywhere or nowhere.
///
/// # Errors
/// Where the store cannot decide; nothing is charged then.
pub fn decide<'a>(
    plan: &Plan<'a>,
    store: &MemoryStore,
    now: Timestamp,
) -> Result<Verdict<'a>, StoreError> {
    let released = plan.releases.iter().filter(|lease| store.release(**lease, now)).count();
    let charges = charges(plan);
    let mut outcomes = Outcomes::new();
    let admission = store.decide(&charges, now, &mut outcomes)?;
    let outcome_of = |met: &Met<'_>| {
        let at = charges.iter().position(|charge| charge.fingerprint == met.fingerprint)?;
        outcomes.get(at).copied()
    };
    let decided =
        plan.met.iter().filter_map(|met| Some(Decided { met: *met, outcome: outcome_of(met)? }));
    Ok(Verdict {
        is_admitted: admission != Admission::Denied,
        is_bypassed: plan.bypassed,
        decided: decided.collect(),
        lease: match admission {
            Admission::Admitted { lease } => lease,
            Admission::Denied => None,
        },
        released: (!plan.releases.is_empty()).then_some(released),
    })
}

/// One charge for each bucket: what several descriptors reach is charged once, by the largest hits.
fn charges<'a>(plan: &Plan<'a>) -> SmallVec<[Charge<'a>; 8]> {
    let mut charges: SmallVec<[Charge<'a>; 8]> = SmallVec::with_capacity(plan.met.len());
    for met in &plan.met {
        let same = charges.iter_mut().find(|charge| charge.fingerprint == met.fingerprint);
        if let Some(charge) = same {
            charge.hits = charge.hits.max(met.hits);
        } else {
            charges.push(Charge {
                fingerprint: met.fingerprint,
                bucket: met.bucket,
                hits: met.hits,
                enforced: !met.row.is_shadow(),
            });
        }
    }
    charges
}
