//! The contract of a store: it decides many buckets at once, and charges all of them or none, except those whose charges
//! are always made.
//!
//! A store takes [`Charge`]s and a time, and returns one [`Outcome`] for each charge. It knows buckets only by name;
//! the policy knows what they limit.

pub mod blocked;
pub(crate) mod counter;
pub mod debt;
pub mod field;
pub mod gcra;
pub mod memory;
pub mod script;
pub mod slots;
pub mod state;
mod tokens;
pub mod window;

use smallvec::SmallVec;

use crate::clock::Nanos;
use crate::descriptor::{Hits, LeaseId};
use crate::limit::{Bucket, Counting, Debt, LimitChanges, TokenBucket};
use crate::policy::fingerprint::Fingerprint;

pub use memory::MemoryStore;
pub use state::BucketState;

/// The charge of one bucket.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The name of the bucket, unique among the charges of a request, but for windows that are
    /// [spared](Counting::SpareOthers): each of their charges is judged alone, and made in order.
    pub fingerprint: Fingerprint,
    /// The parameters of the bucket.
    pub bucket: &'a Bucket,
    /// When they changed; `None` if that is not known: then they change when a request brings others.
    pub changes: Option<&'a LimitChanges>,
    /// How much to charge or give back.
    pub hits: Hits,
    /// Whether the bucket may deny.
    pub mode: Mode,
    /// How far the bucket may owe, if the charge is made whatever is left, and also if the request is denied.
    pub debt: Option<Debt>,
    /// What a window counts if one of the request is over its limit; all or none for other buckets.
    pub counting: Counting,
}

impl Charge<'_> {
    /// Whether this charge denies the request, whatever the state of the buckets.
    pub fn is_denied(&self) -> bool {
        matches!(self.bucket, Bucket::Blocked(_))
            && self.mode == Mode::Enforced
            && self.hits.given_back() == 0
    }

    /// The token bucket, if its charge is made only if the request is admitted.
    fn plain_tokens(&self) -> Option<&TokenBucket> {
        match self.bucket {
            Bucket::Tokens(bucket) if self.debt.is_none() => Some(bucket),
            _ => None,
        }
    }

    /// Whether the charge is made even if the request is denied.
    pub fn is_always_made(&self) -> bool {
        let is_always = match self.counting {
            Counting::Each => true,
            Counting::SpareOthers => self.hits.given_back() > 0,
            Counting::AllOrNone => self.debt.is_some() && matches!(self.bucket, Bucket::Tokens(_)),
        };
        is_always && self.hits != Hits::PEEK
    }

    /// Whether the state of a counter may change even if the request is denied.
    pub(crate) fn may_outlive_a_denial(&self) -> bool {
        self.debt.is_some() || self.counting != Counting::AllOrNone
    }

    /// Whether a store is to be asked although it is known that the request is denied: for a charge that is made all the
    /// same, and for a window that counts beyond its limit, which tells its count.
    pub(crate) fn is_asked_for_although_denied(&self) -> bool {
        self.is_always_made() || self.counting != Counting::AllOrNone
    }

    /// Whether the charge is spared as soon as another bucket of the request is over its limit.
    fn is_spared(&self) -> bool {
        self.counting == Counting::SpareOthers
    }
}

/// What happens to the rest of the request if the bucket does not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The request is denied.
    Enforced,
    /// Nothing is denied. The buckets of one shadow row, which have the same number, are charged all or none, as if the
    /// row were enforced.
    Shadow(usize),
    /// The request is denied if no bucket of this mode admits it.
    Quota,
}

/// The time until a bucket admits a call. One number, since every bucket of a call has one: its nanoseconds, with the least
/// and the largest number for none and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(u64);

impl Wait {
    /// The bucket admits the call now.
    pub const NONE: Self = Self(0);
    /// It never admits the call: the hits exceed the size of the bucket, or it is blocked without an end.
    pub const NEVER: Self = Self(u64::MAX);

    /// The bucket admits the call after this time, at least a nanosecond, unless it is charged before.
    pub const fn of(time: Nanos) -> Self {
        match time.get() {
            0 => Self(1),
            u64::MAX => Self(u64::MAX - 1),
            nanos => Self(nanos),
        }
    }

    /// As [`Self::of`], or [`Self::NONE`] for no time.
    pub(crate) const fn none_if_zero(time: Nanos) -> Self {
        Self(time.get())
    }

    /// The time, zero if the bucket admits the call now; `None` if it never does.
    pub fn time(self) -> Option<Nanos> {
        (self != Self::NEVER).then_some(Nanos::new(self.0))
    }
}

/// The answer of one bucket to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The time until this bucket alone would admit the call.
    pub wait: Wait,
    /// Tokens or slots left: after the charge if it was made, else without it. 0 if the bucket owes some.
    pub remaining: u32,
    /// Tokens of the charge that were not charged, since the bucket owed the most that it may. Saturates.
    pub uncharged: u32,
    /// The count of a window before the charge.
    pub before: u32,
    /// The time until the bucket is full, until its last lease expires, until its window ends, or until it is no longer
    /// blocked; zero if it is blocked without an end.
    pub reset: Nanos,
}

/// The outcomes of charges, in their order.
pub type Outcomes = SmallVec<[Outcome; 8]>;

/// Whether a request was charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// All its charges were made, except those of shadow rows that do not admit.
    Admitted {
        /// The lease that now holds slots, if any were taken.
        lease: Option<LeaseId>,
    },
    /// No charge was made but those that always are.
    Denied,
}

/// Decides what is charged once every bucket has an outcome: nothing if an enforced bucket does not admit, and nothing
/// of a shadow row if one of its buckets does not admit, but for the charges that are always made. `unspent` returns the
/// outcome without the charge of a bucket that admits but is not charged. Returns whether the request is denied.
fn settle(
    charges: &[Charge<'_>],
    outcomes: &mut Outcomes,
    mut unspent: impl FnMut(usize, &Charge<'_>) -> Outcome,
) -> bool {
    let mut is_any_over = false;
    let mut is_denied = false;
    for (charge, outcome) in charges.iter().zip(&*outcomes) {
        let is_over = outcome.wait != Wait::NONE;
        is_any_over |= is_over;
        is_denied |= is_over && charge.mode == Mode::Enforced;
    }
    if !is_any_over {
        return false;
    }
    let is_denied = is_denied || are_quotas_spent(charges, outcomes);
    let over = if is_denied { Over::new() } else { shadows_over(charges, outcomes) };
    for (at, (charge, outcome)) in charges.iter().zip(outcomes).enumerate() {
        let is_unspent = is_denied || charge.is_spared() || over.contains(&charge.mode);
        if outcome.wait == Wait::NONE && is_unspent && !charge.is_always_made() {
            *outcome = Outcome { wait: Wait::NONE, ..unspent(at, charge) };
        }
    }
    is_denied
}

/// Whether the charges are to be made [in order](window::charge_in_order) once they are settled.
fn are_in_order(charges: &[Charge<'_>]) -> bool {
    // The windows of one policy all count alike.
    matches!(charges, [first, _, ..] if first.is_spared())
}

/// Whether there are quotas, and none of them admits.
fn are_quotas_spent(charges: &[Charge<'_>], outcomes: &Outcomes) -> bool {
    let answers = charges.iter().zip(outcomes);
    let mut quotas = answers.filter(|(charge, _)| charge.mode == Mode::Quota).peekable();
    quotas.peek().is_some() && quotas.all(|(_, outcome)| outcome.wait != Wait::NONE)
}

type Over = SmallVec<[Mode; 4]>;

/// The shadow rows that do not admit, if every enforced bucket admits.
fn shadows_over(charges: &[Charge<'_>], outcomes: &Outcomes) -> Over {
    let answers = charges.iter().zip(outcomes);
    answers
        .filter(|(charge, outcome)| outcome.wait != Wait::NONE && charge.mode != Mode::Quota)
        .map(|(charge, _)| charge.mode)
        .collect()
}

/// Random bits for the id of a lease.
pub(crate) fn lease_bits() -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Why a store did not decide.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There are no random bits for an id that cannot be guessed.
    #[error("the operating system has no random bits for the id of a lease: {0}")]
    Entropy(#[from] getrandom::Error),
    /// The reply is not one of the script.
    #[error("the shared store's reply is not one of tollgate's script: {0}")]
    Reply(&'static str),
    /// The shared store rejects this call, but decides others.
    #[error("the shared store rejects this call: {0}")]
    Rejected(String),
    /// The shared store did not reply, or decides no call.
    #[error("the shared store is unavailable: {0}")]
    Unavailable(String),
}
