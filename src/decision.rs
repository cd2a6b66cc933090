//! The verdict on a query, from the store's outcome for each bucket that it matches.
//!
//! A decision is a function of (policy, state, query, now) and of nothing else.

use std::cmp::Reverse;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::clock::Now;
use crate::descriptor::{Hits, LeaseId};
use crate::limit::{Bucket, Counting};
use crate::policy::fingerprint::Fingerprint;
use crate::policy::rule::Rule;
use crate::policy::{MatchedBucket, Plan};
use crate::store::{
    Admission, Charge, MemoryStore, Mode, Outcome, Outcomes, StoreError, Wait, window,
};

/// A matched bucket and its outcome.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// The bucket, and the descriptor that matches it.
    pub matched: &'a MatchedBucket<'a>,
    /// The bucket's outcome.
    pub outcome: Outcome,
    /// Whether the bucket of an enforced row does not deny the call, although it may be over its limit: another quota admits
    /// it, or the deployment is in shadow.
    pub is_excused: bool,
}

impl Decided<'_> {
    /// Whether the bucket could not admit the call. One that is excused still denies no call.
    pub fn is_over(&self) -> bool {
        self.outcome.wait != Wait::NONE
    }

    /// Whether the bucket denied the call.
    pub fn denies(&self) -> bool {
        self.is_over() && !self.is_excused && !self.matched.row.is_shadow()
    }

    /// A sort key, the tightest bucket first: enforced before shadow; then the longest wait to admit the call (none
    /// for a bucket that admits it); then the least remaining; then the latest reset.
    pub(crate) fn tightness(&self) -> impl Ord + use<> {
        let Outcome { wait, remaining, reset, .. } = self.outcome;
        (self.matched.row.is_shadow(), Reverse(wait), remaining, Reverse(reset.get()))
    }
}

/// The decision on a query.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// Whether the request may pass.
    pub is_admitted: bool,
    /// Whether a bypass let it pass.
    pub is_bypassed: bool,
    /// Whether any table has a row for the query, an unlimited row included.
    pub is_matched: bool,
    /// Every matched bucket, grouped by descriptor.
    pub decided: SmallVec<[Decided<'a>; 8]>,
    /// The lease that was taken.
    pub lease: Option<LeaseId>,
    /// The number of leases released; `None` if the query releases none.
    pub released: Option<usize>,
}

impl<'a> Verdict<'a> {
    /// The verdict on a query that matches nothing.
    pub fn unlimited() -> Self {
        Self {
            is_admitted: true,
            is_bypassed: false,
            is_matched: false,
            decided: SmallVec::new(),
            lease: None,
            released: None,
        }
    }

    /// The buckets of each row that a descriptor matches: a row with two buckets makes one decision.
    pub fn rows(&self) -> impl Iterator<Item = &[Decided<'a>]> {
        self.decided.chunk_by(|a, b| {
            a.matched.descriptor == b.matched.descriptor && a.matched.row.id() == b.matched.row.id()
        })
    }

    /// The tightest bucket of each descriptor.
    pub fn tightest_of_each(
        &self,
        descriptors: usize,
    ) -> impl Iterator<Item = Option<&Decided<'a>>> {
        let mut rest = &*self.decided;
        (0..descriptors).map(move |at| {
            let count = rest.iter().take_while(|decided| decided.matched.descriptor == at).count();
            let (of_it, after) = rest.split_at(count);
            rest = after;
            of_it.iter().min_by_key(|decided| decided.tightness())
        })
    }
}

/// The tightest enforced bucket of all, given the tightest of each descriptor (enforced if any of the descriptor's
/// buckets is). On a denial, the one with the longest wait.
pub fn tightest<'v, 'a>(of_each: &[Option<&'v Decided<'a>>]) -> Option<&'v Decided<'a>> {
    let enforced = of_each.iter().flatten().filter(|decided| !decided.matched.row.is_shadow());
    enforced.copied().min_by_key(|decided| decided.tightness())
}

/// Decides a query: releases its leases, then charges all matched buckets or none, but for those that are always
/// charged.
///
/// ```
/// use tollgate::clock::{Clock, ManualClock, Nanos};
/// use tollgate::config::{self, Source};
/// use tollgate::decision;
/// use tollgate::descriptor::{Hits, Query};
/// use tollgate::policy::fingerprint::FingerprintKey;
/// use tollgate::store::MemoryStore;
///
/// let text = "domain: shop\ntables: [{ name: users, key: [user], rows: { all: [{ per_second: 1 }] } }]";
/// let source = Source { name: "shop.yaml".into(), text: text.into() };
/// let policies = config::compile(&[source], FingerprintKey::random()?)?;
/// let policy = policies.get("shop").ok_or("no such domain")?;
/// let (store, clock) = (MemoryStore::new(10_000), ManualClock::default());
///
/// let mut query = Query::default();
/// query.begin("shop", 1)?;
/// query.entry("user", "ann");
/// query.close(Hits::ONE, None)?;
/// let mut admitted = Vec::new();
/// for seconds in [0, 0, 1] {
///     clock.advance(Nanos::from_secs(seconds));
///     let plan = policy.resolve(&query, clock.now());
///     admitted.push(decision::decide(&plan, &store, clock.now())?.is_admitted);
/// }
/// assert_eq!(admitted, [true, false, true]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the store cannot decide; nothing is charged then.
pub fn decide<'a>(
    plan: &'a Plan<'_>,
    store: &MemoryStore,
    now: impl Into<Now>,
) -> Result<Verdict<'a>, StoreError> {
    let mut verdict = Verdict::unlimited();
    decide_into(plan, store, now, &mut verdict)?;
    Ok(verdict)
}

/// As [`decide`], into a verdict that is [`Verdict::unlimited`], which costs a copy less.
///
/// # Errors
/// As [`decide`].
pub fn decide_into<'a>(
    plan: &'a Plan<'_>,
    store: &MemoryStore,
    now: impl Into<Now>,
    verdict: &mut Verdict<'a>,
) -> Result<(), StoreError> {
    let now: Now = now.into();
    let released = plan.releases.iter().filter(|lease| store.release(**lease, now.steady)).count();
    let mut charges = Charges::default();
    charges.add(plan);
    let mut outcomes = Outcomes::new();
    let admission = store.decide(charges.all(), now, &mut outcomes)?;
    charges.judge(plan, &outcomes, admission, released, verdict);
    Ok(())
}

/// The most buckets that are searched one by one; more are hashed.
const MAX_LINEAR: usize = 32;

/// One charge for each bucket: a bucket that several descriptors match is charged once, with the largest hits; a window,
/// which counts each of them, with the hits of all. Windows that are spared have a charge for each descriptor, since each is
/// judged alone.
#[derive(Debug, Default)]
pub struct Charges<'a> {
    charges: SmallVec<[Charge<'a>; 8]>,
    /// The index of its charge for each match; empty if each match has a charge of its own.
    charge_of: SmallVec<[usize; 8]>,
    /// Whether they only read the state.
    is_peeking: bool,
}

impl<'a> Charges<'a> {
    /// The charges of everything that a query matches.
    pub fn of(plan: &'a Plan<'_>) -> Self {
        let mut all = Self::default();
        all.add(plan);
        all
    }

    fn add(&mut self, plan: &'a Plan<'_>) {
        let first = plan.matched.first();
        let last = plan.matched.last();
        // The buckets that one descriptor matches have different names.
        let are_different = last.map(|of| of.descriptor) == first.map(|of| of.descriptor);
        let are_judged_alone = |of: &MatchedBucket<'_>| of.row.counting() == Counting::SpareOthers;
        if are_different || first.is_some_and(are_judged_alone) {
            let matched = plan.matched.iter().enumerate();
            self.charges.extend(matched.map(|(at, matched)| charge(plan, at, matched)));
            return;
        }
        let are_few = plan.matched.len() <= MAX_LINEAR;
        let mut numbers: Option<HashMap<Fingerprint, usize>> = (!are_few).then(HashMap::new);
        for (at, matched) in plan.matched.iter().enumerate() {
            let known = match &numbers {
                None => {
                    self.charges.iter().position(|charge| charge.fingerprint == matched.fingerprint)
                }
                Some(numbers) => numbers.get(&matched.fingerprint).copied(),
            };
            let number = known.unwrap_or(self.charges.len());
            if let Some(charge) = self.charges.get_mut(number) {
                charge.hits = match charge.bucket {
                    Bucket::Window(_) => charge.hits.plus(matched.hits),
                    _ => charge.hits.max(matched.hits),
                };
            } else {
                self.charges.push(charge(plan, at, matched));
                if let Some(numbers) = &mut numbers {
                    numbers.insert(matched.fingerprint, number);
                }
            }
            self.charge_of.push(number);
        }
    }

    /// The same charges with 0 hits, so that they only read the state.
    #[must_use]
    pub fn peeking(mut self) -> Self {
        self.charges.iter_mut().for_each(|charge| charge.hits = Hits::PEEK);
        self.is_peeking = true;
        self
    }

    /// The charges for the store.
    pub fn all(&self) -> &[Charge<'a>] {
        &self.charges
    }

    /// The verdict, given the store's outcome for each charge and the number of leases released.
    pub fn verdict(
        &self,
        plan: &'a Plan<'_>,
        outcomes: &Outcomes,
        admission: Admission,
        released: usize,
    ) -> Verdict<'a> {
        let mut verdict = Verdict::unlimited();
        self.judge(plan, outcomes, admission, released, &mut verdict);
        verdict
    }

    fn judge(
        &self,
        plan: &'a Plan<'_>,
        outcomes: &Outcomes,
        admission: Admission,
        released: usize,
        verdict: &mut Verdict<'a>,
    ) {
        verdict.is_admitted = admission != Admission::Denied;
        verdict.is_bypassed = plan.is_bypassed;
        verdict.is_matched = plan.is_matched;
        verdict.lease = match admission {
            Admission::Admitted { lease } => lease,
            Admission::Denied => None,
        };
        verdict.released = (!plan.releases.is_empty()).then_some(released);
        if self.charge_of.is_empty() {
            let decided = plan.matched.iter().zip(outcomes);
            let decided = decided.map(|(matched, outcome)| decided_by(matched, *outcome));
            verdict.decided.extend(decided);
        } else {
            let mut merged = MergedCharges::of(self);
            for (matched, number) in plan.matched.iter().zip(&self.charge_of) {
                if let Some(outcome) = outcomes.get(*number) {
                    let outcome = merged.outcome_of(matched, *number, *outcome);
                    verdict.decided.push(decided_by(matched, outcome));
                }
            }
        }
        if plan.is_tree {
            settle_windows(plan, verdict);
        }
    }
}

const fn decided_by<'a>(matched: &'a MatchedBucket<'a>, outcome: Outcome) -> Decided<'a> {
    Decided { matched, outcome, is_excused: false }
}

/// Decides by the windows that were counted: of several descriptors that meet one window, each may have a limit and a mode
/// of its own, although their hits were counted together.
#[cold] // Tables have none.
fn settle_windows(plan: &Plan<'_>, verdict: &mut Verdict<'_>) {
    let quotas = || verdict.decided.iter().filter(|decided| decided.matched.row.is_quota());
    let is_spent = |of: &Decided<'_>| of.is_over() && !of.matched.row.is_shadow();
    let are_spent = !plan.has_open_quota && quotas().all(is_spent);
    for decided in &mut verdict.decided {
        let is_quota = decided.matched.row.is_quota();
        decided.is_excused = plan.is_excused || (is_quota && !are_spent);
    }
    verdict.is_admitted = !verdict.decided.iter().any(Decided::denies);
}

/// What each of several descriptors is told that meet one window: the count with its own hits and those before them.
struct MergedCharges<'c, 'a> {
    charges: &'c [Charge<'a>],
    /// The hits of each charge whose outcomes were told.
    told: SmallVec<[Hits; 8]>,
    is_peeking: bool,
}

impl<'c, 'a> MergedCharges<'c, 'a> {
    fn of(Charges { charges, is_peeking, .. }: &'c Charges<'a>) -> Self {
        let told = SmallVec::from_elem(Hits::PEEK, charges.len());
        Self { charges, told, is_peeking: *is_peeking }
    }

    /// The outcome for a descriptor, given that of the charge of this number.
    fn outcome_of(
        &mut self,
        matched: &MatchedBucket<'_>,
        number: usize,
        outcome: Outcome,
    ) -> Outcome {
        let (Some(charge), Some(told)) = (self.charges.get(number), self.told.get_mut(number))
        else {
            return outcome;
        };
        let (Bucket::Window(of), Bucket::Window(own)) = (charge.bucket, matched.bucket) else {
            return outcome;
        };
        let before = *told;
        *told = told.plus(matched.hits);
        let is_only_one = charge.hits == matched.hits && of == own;
        if is_only_one || charge.counting == Counting::AllOrNone {
            return outcome;
        }
        let counts = if self.is_peeking { [Hits::PEEK; 2] } else { [before, *told] };
        let counts = counts.map(|hits| window::sum(outcome.before, hits));
        window::counted(*own, counts, matched.hits, outcome.reset)
    }
}

fn charge<'a>(plan: &'a Plan<'_>, at: usize, matched: &'a MatchedBucket<'_>) -> Charge<'a> {
    let same_row = |other: &MatchedBucket<'_>| {
        other.descriptor == matched.descriptor && other.row.id() == matched.row.id()
    };
    let mode = if matched.row.is_shadow() {
        // The buckets of a row are adjacent.
        let before = plan.matched.iter().take(at).rev().take_while(|other| same_row(other)).count();
        Mode::Shadow(at - before)
    } else if matched.row.is_quota() {
        if plan.has_open_quota { Mode::Shadow(at) } else { Mode::Quota }
    } else {
        Mode::Enforced
    };
    let MatchedBucket { fingerprint, bucket, rule, hits, debt, row, .. } = *matched;
    let (changes, counting) = (rule.and_then(Rule::changes), row.counting());
    Charge { fingerprint, bucket, changes, hits, mode, debt, counting }
}
