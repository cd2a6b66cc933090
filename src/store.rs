//! The contract of a store: decide many buckets at once, charge all of them or none.
//!
//! A store is asked with [`Charge`]s and a time, and answers with one [`Outcome`] for each. It knows
//! buckets by name only; what the buckets are for is the policy's affair.

pub mod blocked;
pub(crate) mod counter;
pub mod gcra;
pub mod memory;
pub mod script;
pub mod slots;
pub mod state;

use smallvec::SmallVec;

use crate::clock::Nanos;
use crate::descriptor::{Hits, LeaseId};
use crate::limit::Bucket;
use crate::policy::fingerprint::Fingerprint;

pub use memory::MemoryStore;
pub use state::BucketState;

/// One bucket, and what is asked of it.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The bucket's name. No two charges of one request have the same.
    pub fingerprint: Fingerprint,
    /// What the bucket is.
    pub bucket: &'a Bucket,
    /// How much to charge or to give back.
    pub hits: Hits,
    /// Whether the bucket may deny.
    pub mode: Mode,
}

impl Charge<'_> {
    /// Whether the bucket denies the request, however all others stand.
    pub fn is_denied(&self) -> bool {
        matches!(self.bucket, Bucket::Blocked(_))
            && self.mode == Mode::Enforced
            && self.hits.given_back() == 0
    }
}

/// What a bucket that cannot admit does to the rest of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It denies the request.
    Enforced,
    /// It denies nobody. The buckets of one shadow row, those with the same number, are charged all or
    /// none, as they would be if the row were enforced.
    Shadow(usize),
}

/// When a bucket admits a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// At once.
    None,
    /// After this time, if nobody else comes first.
    For(Nanos),
    /// Never: the call asks for more than the bucket holds, or nothing ever passes.
    Never,
}

/// How one bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When the call would be admitted by this bucket alone.
    pub wait: Wait,
    /// Tokens or slots left: after the charge if the request was admitted, else as they stand.
    pub remaining: u32,
    /// Time until the bucket is full, the last lease has expired, or something passes again; none where nothing
    /// ever does.
    pub reset: Nanos,
}

/// One outcome for each charge, in the order of the charges.
pub type Outcomes = SmallVec<[Outcome; 8]>;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Charged everywhere.
    Admitted {
        /// The lease under which slots are now held, where there were slots to take.
        lease: Option<LeaseId>,
    },
    /// Charged nowhere.
    Denied,
}

/// Decides what is charged, once every bucket has answered: nothing if one that is enforced cannot admit,
/// and nothing of a shadow row of which one cannot. `unspent` is told which bucket is not charged though it could
/// be, and returns how it stands without the charge. Returns whether the request is denied.
fn settle(
    charges: &[Charge<'_>],
    outcomes: &mut Outcomes,
    mut unspent: impl FnMut(usize, &Charge<'_>) -> Outcome,
) -> bool {
    let mut is_over = false;
    let mut is_denied = false;
    for (charge, outcome) in charges.iter().zip(&*outcomes) {
        let is_this_over = outcome.wait != Wait::None;
        is_over |= is_this_over;
        is_denied |= is_this_over && charge.mode == Mode::Enforced;
    }
    if !is_over {
        return false;
    }
    let over = if is_denied { Over::new() } else { shadows_over(charges, outcomes) };
    for (at, (charge, outcome)) in charges.iter().zip(outcomes).enumerate() {
        if outcome.wait == Wait::None && (is_denied || over.contains(&charge.mode)) {
            *outcome = Outcome { wait: Wait::None, ..unspent(at, charge) };
        }
    }
    is_denied
}

type Over = SmallVec<[Mode; 4]>;

/// The shadow rows that cannot admit, where every bucket that is enforced can.
fn shadows_over(charges: &[Charge<'_>], outcomes: &Outcomes) -> Over {
    let answers = charges.iter().zip(outcomes);
    answers
        .filter(|(_, outcome)| outcome.wait != Wait::None)
        .map(|(charge, _)| charge.mode)
        .collect()
}

/// Random bits for a lease.
pub(crate) fn lease_bits() -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Why a store cannot decide.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No random bits for a lease that nobody can guess.
    #[error("the operating system gives no random bits for a lease: {0}")]
    Entropy(#[from] getrandom::Error),
    /// What came back is not what the script returns.
    #[error("the shared store answered what tollgate's script does not: {0}")]
    Reply(&'static str),
    /// A shared store does not do what this call asks, and does what others ask.
    #[error("the shared store refuses this call: {0}")]
    Refused(String),
    /// A shared store did not answer.
    #[error("the shared store does not answer: {0}")]
    Unavailable(String),
}
